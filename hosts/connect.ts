/** `connect`: a store on a page. */

import { ConnectionFace } from "../store/connection/face.ts";
import { isText } from "../store/connection/wire.ts";
import type { KeyEncoding, ValueEncoding } from "../store/encoding.ts";
import { CairnError } from "../store/error.ts";
import { type KeyOf, type OpenOptions, readOptions, type ValueOf } from "../store/options.ts";
import { MEMORY_BYTES_DEFAULT } from "./browser-runtime.ts";
import { Tab } from "./browser-tab.ts";
import { opfsMissing, partsOf } from "./opfs-target.ts";
import { PageConnection } from "./page-connection.ts";

/** Options that stay on the page: they cannot be cloned, or they are this connection's own. */
const KEPT_HERE = ["keyEncoding", "valueEncoding", "onEvent", "onProgress", "readOnly", "wasm"];

/** See `connect` in `browser.ts`. */
export async function connectInBrowser<K extends KeyEncoding = "utf8", V extends ValueEncoding = "utf8">(
  name: string,
  options?: OpenOptions<K, V>,
): Promise<PageConnection<KeyOf<K>, ValueOf<V>>> {
  const settings = readOptions(options, { memoryBytesDefault: MEMORY_BYTES_DEFAULT });
  if (typeof name !== "string") throw invalid("the name must be a string.");
  const place = name === ":memory:" ? name : partsOf(name).join("/");
  const missing = reasonAgainst(place);
  if (missing !== undefined) {
    throw new CairnError("UNSUPPORTED", "connect", `connect: ${missing}. ":memory:" needs no file system.`);
  }
  let persisted: boolean | undefined;
  if (place !== ":memory:") {
    // The answer may take as long as a person takes, so it is not waited for.
    navigator.storage.persist?.().then(
      (answer) => {
        persisted = answer;
      },
      () => undefined,
    );
  }
  const { keys, values, durability, readOnly, onEvent, onProgress, wasm } = settings;
  const client = {
    id: crypto.randomUUID(),
    keysAreText: isText(keys),
    valuesAreText: isText(values),
    wantsEvents: onEvent !== undefined,
    wantsProgress: onProgress !== undefined,
  };
  const cloned = Object.fromEntries(Object.entries(options ?? {}).filter(([option]) => !KEPT_HERE.includes(option)));
  if (readOnly) cloned["create"] = false;
  const tab = new Tab({ name: place, client, options: cloned, wasm, onEvent, onProgress });
  await tab.ready;
  const face = new ConnectionFace(tab.conversation, { path: [], keys, values }, undefined, true);
  return new PageConnection<KeyOf<K>, ValueOf<V>>(tab, { durability, readOnly, persisted: () => persisted }, face);
}

/** Why there can be no store here; `undefined` when it seems there can. */
function reasonAgainst(name: string): string | undefined {
  if (typeof Worker === "undefined") return "this context can start no dedicated worker: connect from a page";
  const missing = opfsMissing();
  if (name !== ":memory:" && missing !== undefined) return missing;
  if (navigator.locks === undefined) return "the page is no secure context: serve it over https, or from localhost";
  if (typeof BroadcastChannel === "undefined") return "this browser has no BroadcastChannel";
  return undefined;
}

function invalid(message: string): CairnError {
  return new CairnError("INVALID_ARGUMENT", "connect", `connect: ${message}`);
}
