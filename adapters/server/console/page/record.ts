/** Single records over REST: read in part where they are long, written only over what was seen. */
import { EDITED_SIZE_MAX, SHOWN_SIZE_MAX, type ShownRecord } from "../../../page/record-form.ts";
import { type Api, ApiError, base64Of } from "./api.ts";

/** A record, as it was when it was read. */
export interface RemoteRecord extends ShownRecord {
  /** What a write has to match, so that it replaces what was seen and nothing newer. */
  tag: string;
  expiresAt: number | undefined;
}

const addressOf = (key: Uint8Array) => ({ key: base64Of(key), keyEncoding: "base64" });

/** The record of a key, without what may be done with it; `undefined`: there is none. */
export async function readRecord(
  api: Api,
  key: Uint8Array,
): Promise<Omit<RemoteRecord, "mayWrite" | "mayDelete"> | undefined> {
  let response: Response;
  try {
    response = await api.ask("record", { query: addressOf(key), headers: { accept: "application/octet-stream" } });
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return undefined;
    throw error;
  }
  const { headers } = response;
  const told = headers.get("content-length");
  const expiry = headers.get("x-expires-at");
  const { bytes, isWhole } = await beginningOf(response, EDITED_SIZE_MAX);
  return {
    key,
    value: isWhole ? bytes : bytes.slice(0, SHOWN_SIZE_MAX),
    size: isWhole ? bytes.length : told === null ? undefined : Number(told),
    isWhole,
    tag: headers.get("etag") ?? "",
    expiresAt: expiry === null ? undefined : Number(expiry),
  };
}

/**
 * Writes a record, durably, to be gone after `ttlMs`. `tag`: the record must still be as it was then; `null`: it must not be there;
 * `undefined`: whatever is there. `undefined` where that does not hold, else the tag that it has now.
 */
export async function writeRecord(
  api: Api,
  key: Uint8Array,
  value: Uint8Array<ArrayBuffer>,
  tag: string | null | undefined,
  ttlMs: number | undefined,
): Promise<string | undefined> {
  return unlessChanged(async () => {
    const condition: Record<string, string> =
      tag === undefined ? {} : tag === null ? { "if-none-match": "*" } : { "if-match": tag };
    const response = await api.ask("record", {
      method: "PUT",
      query: { ...addressOf(key), ttl: ttlMs },
      headers: { "content-type": "application/octet-stream", ...condition },
      body: value,
    });
    return response.headers.get("etag") ?? "";
  });
}

/** Deletes a record: whether it was there. */
export async function deleteRecord(api: Api, key: Uint8Array): Promise<boolean> {
  try {
    await api.ask("record", { method: "DELETE", query: addressOf(key) });
    return true;
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return false;
    throw error;
  }
}

async function unlessChanged(write: () => Promise<string>): Promise<string | undefined> {
  try {
    return await write();
  } catch (error) {
    if (error instanceof ApiError && error.status === 412) return undefined;
    throw error;
  }
}

/** A body, or its first bytes when it is longer. */
async function beginningOf(
  { body }: Response,
  sizeMax: number,
): Promise<{ bytes: Uint8Array<ArrayBuffer>; isWhole: boolean }> {
  const reader = body?.getReader();
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  let isWhole = true;
  while (reader !== undefined) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    size += value.length;
    if (size <= sizeMax) continue;
    isWhole = false;
    reader.cancel().catch(() => undefined);
    break;
  }
  return { bytes: new Uint8Array(await new Blob(parts).arrayBuffer()), isWhole };
}
