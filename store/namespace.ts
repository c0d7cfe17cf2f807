/**
 * Namespaces: keys of one store behind a prefix.
 *
 * The prefix of `sub(name)` is the byte 0xff, the name as UTF-8, and 0xff. UTF-8 never holds that byte, so no namespace's
 * prefix starts another one's, and no key of text, JSON or a tuple lies in one: `sub("a")`, `sub("ab")` and the store's
 * own keys are apart. A namespace in a namespace has the prefixes of both. Only where keys are bytes, or a codec's, can a
 * key be the store's own and lie in a namespace as well.
 */
import { type Format, formatOf } from "./encoding.ts";
import { joined } from "./range.ts";
import { invalid, isPlain, KEY_SIZE_MAX } from "./refusals.ts";

const NAMESPACE = 0xff;
/** What the prefixes of nested namespaces leave for keys. */
const KEY_SIZE_LEFT = 512;

const encoder = new TextEncoder();

/** The prefix of the namespace `name` behind its parent's. `INVALID_ARGUMENT` for a name that is none. */
export function prefixOf(parent: Uint8Array, name: unknown): Uint8Array {
  if (typeof name !== "string" || name === "") throw invalid("sub", "the name must be a string that is not empty.");
  const encoded = encoder.encode(name);
  const prefix = new Uint8Array(encoded.length + 2);
  prefix[0] = NAMESPACE;
  prefix.set(encoded, 1);
  prefix[encoded.length + 1] = NAMESPACE;
  const whole = joined(parent, prefix);
  if (whole.length <= KEY_SIZE_MAX - KEY_SIZE_LEFT) return whole;
  throw invalid(
    "sub",
    `the names of this namespace and those around it take ${whole.length} bytes of each key; the limit is ${KEY_SIZE_MAX - KEY_SIZE_LEFT}.`,
  );
}

/** The formats of the encodings of a namespace. `INVALID_ARGUMENT` names what is wrong with them. */
export function subFormats(encodings: unknown): { keys: Format; values: Format } {
  if (!isPlain(encodings)) throw invalid("sub", "encodings must be an object { keyEncoding, valueEncoding }.");
  for (const [option, encoding] of Object.entries(encodings)) {
    if (encoding === undefined || option === "keyEncoding" || option === "valueEncoding") continue;
    throw invalid("sub", `there is no option ${option}.`);
  }
  const { keyEncoding, valueEncoding } = encodings as { keyEncoding?: unknown; valueEncoding?: unknown };
  return {
    keys: formatOf(keyEncoding, "keyEncoding", "sub"),
    values: formatOf(valueEncoding, "valueEncoding", "sub"),
  };
}
