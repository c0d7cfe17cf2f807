/** API keys as text: `cairn_<id>_<secret>`, of letters, digits, `_` and `-`; the secret is base64url of 256 random bits. */
import { createHash, randomBytes, randomInt } from "node:crypto";

/** A longer text is no key, and is not looked at. */
const KEY_TEXT = /^cairn_([A-Za-z0-9]{4,32})_([A-Za-z0-9_-]{43})$/;
const KEY_TEXT_SIZE_MAX = 6 + 32 + 1 + 43;
const ID_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz";
const ID_SIZE = 12;

/** A new API key, and what the keys file keeps of it. */
export function newApiKey(id = newId()): { id: string; text: string; sha256: string } {
  const secret = randomBytes(32).toString("base64url");
  return { id, text: `cairn_${id}_${secret}`, sha256: hashOfSecret(secret).toString("hex") };
}

/** Id and secret of a key's text; `undefined` when it is none. */
export function readApiKey(text: string): { id: string; secret: string } | undefined {
  if (text.length > KEY_TEXT_SIZE_MAX) return undefined;
  const [, id, secret] = KEY_TEXT.exec(text) ?? [];
  return id === undefined || secret === undefined ? undefined : { id, secret };
}

/** SHA-256 of the secret part. */
export function hashOfSecret(secret: string): Buffer {
  return createHash("sha256").update(secret).digest();
}

function newId(): string {
  let id = "";
  for (let at = 0; at < ID_SIZE; at++) id += ID_LETTERS[randomInt(ID_LETTERS.length)];
  return id;
}
