/** Answers of REST: JSON objects, and errors in the form that HPKV's clients read. */
import { CairnError } from "../../../store/error.ts";
import { failureOf } from "../failure.ts";
import { type ReplyHeaders, reply } from "../reply.ts";

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
