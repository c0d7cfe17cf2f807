/** Answers of REST: JSON objects, and errors in the form that HPKV's clients read. */
import { CairnError } from "../../../store/error.ts";
import { failureOf } from "../failure.ts";
import { HEADER_LINES, type ReplyHeaders, reply } from "../reply.ts";

export const JSON_TYPE = "application/json";
/** Shared by all answers that say nothing else; nobody changes it. */
const JSON_HEADERS: ReplyHeaders = Object.freeze({ "content-type": JSON_TYPE });

/** Texts of HPKV, by status, where the error is nobody's in particular. */
export const TEXTS = {
  unauthorized: "Missing or invalid API key",
  forbidden: "Permission denied",
  notFound: "Record not found",
  stale: "Timestamp conflict",
} as const;

/** An answer whose body is the text of a JSON object. */
export function jsonAnswer(status: number, text: string, headers: ReplyHeaders = JSON_HEADERS): Response {
  return reply(status, text, headers);
}

/** Headers of an answer in JSON that says which version the record has. As text they are always the same but for that. */
class TaggedHeaders {
  readonly "content-type" = JSON_TYPE;
  readonly etag: string;

  constructor(version: number) {
    this.etag = tagOf(version);
  }

  get [HEADER_LINES](): string {
    return `content-type: ${JSON_TYPE}\r\netag: ${this.etag}\r\n`;
  }
}

/** An answer whose body is the text of a JSON object, and which says the record's version. */
export function taggedAnswer(text: string, version: number): Response {
  return reply(200, text, new TaggedHeaders(version) as unknown as ReplyHeaders);
}

/** What a version is in `ETag`. */
export function tagOf(version: number): string {
  return `"${version}"`;
}

/** An error as an answer. */
export function failureAnswer(error: unknown): Response {
  const { status, message, retryAfter } = failureOf(error);
  const isStale = error instanceof CairnError && error.code === "STALE_TIMESTAMP";
  return errorAnswer(status, isStale ? TEXTS.stale : message, retryAfter);
}

/** A refusal with its text. */
export function errorAnswer(status: number, text: string, retryAfter?: number, more?: ReplyHeaders): Response {
  const headers = { ...JSON_HEADERS, ...more };
  if (retryAfter !== undefined) headers["retry-after"] = String(Math.ceil(retryAfter));
  return reply(status, JSON.stringify({ error: text, message: text }), headers);
}
