/** Addresses: the path of a request, its query, and what percent-encoding stands for. */
import { Buffer } from "node:buffer";
import { ServerFailure } from "../failure.ts";

/** A request's URL in parts, still encoded. Doubled slashes in front count as one. */
export interface Address {
  path: string;
  query: string;
}

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Where single records lie. */
export const RECORD = "/record/";

/** `path.startsWith(RECORD)`, in a fifth of the time for a path that was cut out of an address. */
export function isBelowRecord(path: string): boolean {
  if (path.length < RECORD.length) return false;
  for (let at = 1; at < RECORD.length; at++) if (path.charCodeAt(at) !== RECORD.charCodeAt(at)) return false;
  return true;
}

/** The parts of a URL as requests have it: with scheme and host, or without. */
export function addressOf(url: string): Address {
  let start = url.charCodeAt(0) === 0x2f ? 0 : url.indexOf("/", url.indexOf("://") + 3);
  if (start < 0) return { path: "/", query: "" };
  while (url.charCodeAt(start + 1) === 0x2f) start++;
  const queryAt = url.indexOf("?", start);
  if (queryAt < 0) return { path: url.slice(start), query: "" };
  return { path: url.slice(start, queryAt), query: url.slice(queryAt + 1) };
}

/** A part of a path, decoded once. 400 where it is no percent-encoding of UTF-8. */
export function decodedSegment(segment: string): string {
  let hasPercent = false;
  for (let i = 0; i < segment.length; i++) {
    const unit = segment.charCodeAt(i);
    if (unit === 0x25) hasPercent = true;
    else if (unit > 0x7e) return decodedSegment(encodedRaw(segment));
  }
  if (!hasPercent) return segment;
  try {
    return decodeURIComponent(segment);
  } catch {
    throw new ServerFailure(400, "The path is no percent-encoded UTF-8: % must be sent as %25.");
  }
}

/** Characters beyond ASCII that a client has sent as they are: bytes of UTF-8, one a character. */
function encodedRaw(segment: string): string {
  let text = segment;
  try {
    if (isLatin(segment)) text = strict.decode(Buffer.from(segment, "latin1"));
    return encodeURI(text).replaceAll("%25", "%");
  } catch {
    throw new ServerFailure(400, "The path is no UTF-8. Send it percent-encoded.");
  }
}

function isLatin(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0xff) return false;
  return true;
}

/** The parameters of a query; of several with one name the first counts. */
export class Query {
  private readonly params: URLSearchParams | undefined;

  constructor(text: string) {
    this.params = text === "" ? undefined : new URLSearchParams(text);
  }

  /** A parameter, decoded once; `undefined` without it. 400 where it is no UTF-8. */
  text(name: string): string | undefined {
    const value = this.params?.get(name) ?? undefined;
    if (value === undefined || !value.includes("\uFFFD")) return value;
    throw new ServerFailure(400, `The parameter ${name} is no percent-encoded UTF-8.`);
  }

  /**
   * A parameter that clients of HPKV encode twice: decoded once more, where that can be. So one that holds an escape and was encoded
   * once is decoded too far.
   */
  textTwice(name: string): string | undefined {
    const once = this.text(name);
    if (once === undefined || !once.includes("%")) return once;
    try {
      return decodeURIComponent(once);
    } catch {
      return once;
    }
  }

  /** `true` for "true", "1" and "", `false` for "false", "0" and where it is absent. */
  flag(name: string): boolean {
    const value = this.text(name);
    if (value === undefined || value === "false" || value === "0") return false;
    if (value === "true" || value === "1" || value === "") return true;
    throw new ServerFailure(400, `The parameter ${name} must be true or false.`);
  }

  /** An integer of `least` and more. */
  integer(name: string, least: number): number | undefined {
    const value = this.text(name);
    if (value === undefined) return undefined;
    const number = digitsOnly(value) ? Number(value) : Number.NaN;
    if (Number.isSafeInteger(number) && number >= least) return number;
    throw new ServerFailure(400, `The parameter ${name} must be an integer of ${least} or more.`);
  }
}

/** Whether text is decimal digits and nothing else. */
export function digitsOnly(text: string): boolean {
  if (text.length === 0 || text.length > 20) return false;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x30 || unit > 0x39) return false;
  }
  return true;
}
