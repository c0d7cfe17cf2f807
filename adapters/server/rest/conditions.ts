/** Conditional requests: `If-Match` and `If-None-Match`, whose tags are versions. */
import { ServerFailure } from "../failure.ts";
import { digitsOnly } from "./address.ts";
import type { Call } from "./call.ts";

type Key = string | Uint8Array;

/** Tags at most; more are nobody's. */
const TAGS_MAX = 32;

/** What a header names: any version, or those listed. A tag that is no version is 0, which no record has. */
type Tags = "*" | readonly number[];

/**
 * What a write is to ask of the record: the version that it must have, `null` where it must be absent, `undefined` for nothing.
 * 412 where the conditions do not hold now.
 */
export function writeCondition(call: Call, key: Key): number | null | undefined | Promise<number | null> {
  const match = tagsOf(call.header("if-match"));
  const noneMatch = tagsOf(call.header("if-none-match"));
  if (match === undefined && noneMatch === undefined) return undefined;
  if (noneMatch === undefined && match !== "*" && match?.length === 1 && match[0] !== 0) return match[0];
  if (match === undefined && noneMatch === "*") return null;
  return versionThatHolds(call, key, match, noneMatch);
}

async function versionThatHolds(
  call: Call,
  key: Key,
  match: Tags | undefined,
  noneMatch: Tags | undefined,
): Promise<number | null> {
  const version = (await call.operations.getEntrySoon(key))?.version;
  if (match !== undefined && !isAmong(version, match)) throw conditionFailed();
  if (noneMatch !== undefined && isAmong(version, noneMatch)) throw conditionFailed();
  return version ?? null;
}

/** Whether a read of a version is to be answered with 304. Throws 412 where `If-Match` does not hold. */
export function isUnchanged(call: Call, version: number): boolean {
  const match = call.header("if-match");
  if (match !== undefined && !isAmong(version, tagsOf(match) as Tags)) throw conditionFailed();
  const noneMatch = call.header("if-none-match");
  return noneMatch !== undefined && isAmong(version, tagsOf(noneMatch, true) as Tags);
}

/** The refusal of a request whose conditions do not hold. */
export function conditionFailed(): ServerFailure {
  return new ServerFailure(412, "The record has another version than the condition asks for. Nothing was changed.");
}

function isAmong(version: number | undefined, tags: Tags): boolean {
  return version !== undefined && (tags === "*" || tags.includes(version));
}

/** `weakly`: a tag that is marked as weak counts. */
function tagsOf(header: string | undefined, weakly = false): Tags | undefined {
  if (header === undefined) return undefined;
  if (header.trim() === "*") return "*";
  return header.split(",", TAGS_MAX).map((item) => {
    const tag = item.trim();
    const strong = weakly && tag.startsWith("W/") ? tag.slice(2) : tag;
    const digits = strong.slice(1, -1);
    if (strong.length < 3 || strong[0] !== '"' || strong.at(-1) !== '"' || !digitsOnly(digits)) return 0;
    const version = Number(digits);
    return Number.isSafeInteger(version) ? version : 0;
  });
}
