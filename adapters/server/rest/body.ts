/**
 * Bodies: read as they come, never further than their cap, and what JSON in them says.
 *
 * What is larger than SMALL_SIZE, or of unknown size, counts against the bytes that the tenant may have in flight.
 */
import { ServerFailure } from "../failure.ts";
import { HeldBytes } from "../listen/held-bytes.ts";
import { arrivedBody } from "../listen/request.ts";
import { digitsOnly } from "./address.ts";
import type { Call } from "./call.ts";
import { breakOf, placeOf } from "./json-place.ts";

/** Bytes of a JSON body of HPKV's endpoints at most: a value that is all escapes, and more. */
export const JSON_SIZE_MAX = 1_048_576;
const SMALL_SIZE = 65_536;

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false });

/** A body of at most `sizeMax` bytes, at once where a small one has come already. 413 beyond, as soon as that is known. */
export function bodyOf(call: Call, sizeMax: number): Uint8Array | Promise<Uint8Array> {
  const length = lengthOf(call);
  if (length !== undefined && length > sizeMax) throw tooLarge(sizeMax);
  const arrived = length !== undefined && length <= SMALL_SIZE ? arrivedBody(call.request) : undefined;
  return arrived ?? readBody(call, sizeMax, length);
}

async function readBody(call: Call, sizeMax: number, length: number | undefined): Promise<Uint8Array> {
  const { request } = call;
  if (length !== undefined && length <= SMALL_SIZE) {
    const bytes = await read(() => wholeOf(request));
    if (bytes.length > sizeMax) throw tooLarge(sizeMax);
    return bytes;
  }
  if (request.body === null) return new Uint8Array(0);
  if (length !== undefined) call.hold(length);
  const bytes = new HeldBytes();
  for await (const piece of piecesOf(call)) {
    if (bytes.size + piece.length > sizeMax) throw tooLarge(sizeMax);
    if (length === undefined) call.hold(piece.length);
    bytes.add(piece);
  }
  const { buffer, byteOffset, byteLength } = bytes.take();
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** The pieces of a body as they come. Stops reading when whoever takes them stops. */
export async function* piecesOf(call: Call): AsyncGenerator<Uint8Array> {
  const { body } = call.request;
  if (body === null) return;
  const reader = body.getReader();
  let isWhole = false;
  try {
    for (;;) {
      const { done, value } = await read(() => reader.read());
      isWhole = done;
      if (done) return;
      yield value as Uint8Array;
    }
  } finally {
    if (!isWhole) reader.cancel().catch(() => undefined);
  }
}

/** The JSON object of a body. 400 says where it is none. */
export function objectOfBody(call: Call): Record<string, unknown> | Promise<Record<string, unknown>> {
  const body = bodyOf(call, Math.min(JSON_SIZE_MAX, call.rest.settings.bodyBytes));
  return body instanceof Promise ? body.then(objectOf) : objectOf(body);
}

/** The JSON object that bytes hold. 400 says where they hold none. */
export function objectOf(bytes: Uint8Array): Record<string, unknown> {
  const parsed = parsedJson(textOf(bytes));
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
    throw new ServerFailure(400, "The JSON is no object. Send { … }.");
  }
  return parsed as Record<string, unknown>;
}

/** Bytes as text. 400 where they are no UTF-8. */
export function textOf(bytes: Uint8Array): string {
  try {
    return strict.decode(bytes);
  } catch {
    throw new ServerFailure(400, "This is no UTF-8.");
  }
}

/** What JSON says. 400 says where it is none. */
export function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    const at = breakOf(text);
    const what = at >= text.length ? "it ends too early" : `${JSON.stringify(text[at])} does not fit`;
    const place = at >= text.length ? "" : ` at ${placeOf(text, at)}`;
    throw new ServerFailure(
      400,
      text.trim() === "" ? "The body is empty. Send JSON." : `Malformed JSON: ${what}${place}.`,
    );
  }
}

/** What the client says that its body has; `undefined` where it does not say. */
function lengthOf({ request }: Call): number | undefined {
  const length = request.headers.get("content-length");
  if (length === null) return undefined;
  if (digitsOnly(length)) return Number(length);
  throw new ServerFailure(400, "Content-Length is no number.");
}

/** All of a body that is known to be small. */
async function wholeOf(request: Request): Promise<Uint8Array> {
  const { bytes } = request as { bytes?: () => Promise<Uint8Array> };
  return bytes === undefined ? new Uint8Array(await request.arrayBuffer()) : bytes.call(request);
}

/** A step of reading. What breaks off is the client's doing. */
async function read<T>(step: () => Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (cause) {
    throw new ServerFailure(400, "The body ended early.", undefined, { cause });
  }
}

function tooLarge(sizeMax: number): ServerFailure {
  return new ServerFailure(413, `The body has more than ${sizeMax} bytes.`);
}
