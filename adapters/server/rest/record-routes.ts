/** Routes of single records. */
import { JSON_TYPE } from "./answers.ts";
import {
  BYTES_TYPE,
  deleteRecord,
  EXPIRES_HEADER,
  getRecord,
  postAtomic,
  postRecord,
  putRecord,
  TEXT_TYPE,
} from "./records.ts";
import {
  type AnswerSpec,
  BYTES,
  FLAG,
  INTEGER,
  inHeader,
  inQuery,
  objectOfMembers,
  type Parameter,
  type Route,
  TEXT,
} from "./route.ts";

const KEY_IN_PATH: Parameter = {
  name: "key",
  in: "path",
  schema: TEXT,
  description: "The key, percent-encoded; decoded once.",
};
const KEY_IN_QUERY = inQuery("key", TEXT, 'The key, for those that no path can carry: ".", "..".');
const KEY_ENCODING = inQuery(
  "keyEncoding",
  { enum: ["utf8", "base64"] },
  "base64: keys in the address are bytes in base64.",
);
const SNAPSHOT = inQuery("snapshot", TEXT, "Read through this snapshot.");
const TTL = [
  inQuery("ttl", INTEGER, "Milliseconds after which the record is gone."),
  inHeader("x-ttl", "The same as a header."),
];
const TIMESTAMP = inQuery("timestamp", INTEGER, "Refused with 409 where the record has a newer one.");
const CONDITIONS = [
  inHeader("if-match", 'The ETag that the record must have, or "*": any.'),
  inHeader("if-none-match", '"*": the record must not be there.'),
];

export const RECORD = objectOfMembers({
  key: TEXT,
  "keyEncoding?": { const: "base64" },
  value: TEXT,
  "encoding?": { const: "base64" },
  "expiresAt?": INTEGER,
});
const WRITE_MEMBERS = {
  "keyEncoding?": { enum: ["utf8", "base64"] },
  "encoding?": { enum: ["utf8", "base64"] },
  "expiresIn?": { type: "number", description: "Milliseconds after which the record is gone." },
  "expiresAt?": { type: "number", description: "Milliseconds since 1970 from which on the record is gone." },
  "timestamp?": { type: "integer", description: "Refused with 409 where the record has a newer one." },
};
export const RECORD_TO_WRITE = objectOfMembers({ key: TEXT, value: TEXT, ...WRITE_MEMBERS });
const DONE = objectOfMembers({ success: { const: true }, message: TEXT, "expiresAt?": INTEGER });
const TAGGED = { etag: "The version of the record, in quotes." };

const WRITTEN: AnswerSpec = {
  description: "Done, and on stable storage.",
  content: { [JSON_TYPE]: DONE },
  headers: TAGGED,
};
const BAD: AnswerSpec = { description: "The request is malformed, or beyond a limit." };
const FORBIDDEN: AnswerSpec = { description: "The key may not do this." };
const MISSING: AnswerSpec = { description: "Record not found." };
const STALE: AnswerSpec = { description: "Timestamp conflict: the record has a newer one." };
const CONDITION: AnswerSpec = { description: "The condition does not hold. Nothing was changed." };
const TOO_LARGE: AnswerSpec = { description: "The body is too large." };

const GET_ANSWERS: Route["answers"] = {
  200: {
    description: "The record.",
    content: { [JSON_TYPE]: RECORD, [TEXT_TYPE]: TEXT, [BYTES_TYPE]: BYTES },
    headers: { ...TAGGED, [EXPIRES_HEADER]: "When it expires, where the body is no JSON: milliseconds since 1970." },
  },
  304: { description: "The record still has the version that If-None-Match names.", headers: TAGGED },
  400: BAD,
  403: FORBIDDEN,
  404: MISSING,
  406: { description: "The value is no text, and text was asked for." },
  410: { description: "There is no such snapshot." },
  412: CONDITION,
};
const PUT_ANSWERS: Route["answers"] = {
  200: WRITTEN,
  400: BAD,
  403: FORBIDDEN,
  409: STALE,
  412: CONDITION,
  413: TOO_LARGE,
  415: { description: "The text is not UTF-8." },
};
const DELETE_ANSWERS: Route["answers"] = {
  200: { description: "Deleted, on stable storage.", content: { [JSON_TYPE]: DONE } },
  400: BAD,
  403: FORBIDDEN,
  404: MISSING,
  409: STALE,
  412: CONDITION,
};
const RAW_BODY = { [BYTES_TYPE]: BYTES, [TEXT_TYPE]: TEXT, [JSON_TYPE]: {} };

/** The same three methods, with the key in the path or in the query. */
function rawRoutes(path: string, key: Parameter, suffix: string): Route[] {
  const address = [key, KEY_ENCODING];
  return [
    {
      method: "GET",
      path,
      id: `getRecord${suffix}`,
      summary: "A record",
      description: "As JSON, as text or as bytes, by Accept.",
      parameters: [...address, SNAPSHOT, ...CONDITIONS],
      answers: GET_ANSWERS,
      handle: getRecord,
    },
    {
      method: "PUT",
      path,
      id: `putRecord${suffix}`,
      summary: "Store a value as it is sent",
      description:
        "The body is the value. Text and JSON are checked; everything else is bytes. The limits are those of the store.",
      parameters: [...address, ...TTL, TIMESTAMP, ...CONDITIONS],
      body: RAW_BODY,
      answers: PUT_ANSWERS,
      handle: putRecord,
    },
    {
      method: "DELETE",
      path,
      id: `deleteRecord${suffix}`,
      summary: "Delete a record",
      parameters: [...address, TIMESTAMP, ...CONDITIONS],
      answers: DELETE_ANSWERS,
      handle: deleteRecord,
    },
  ];
}

export const RECORD_ROUTES: readonly Route[] = [
  {
    method: "POST",
    path: "/record",
    id: "postRecord",
    summary: "Store or patch a record",
    description:
      "With partialUpdate JSON objects are merged (RFC 7396), anything else is appended, and a missing record is created.",
    parameters: [...TTL, TIMESTAMP, ...CONDITIONS],
    body: {
      [JSON_TYPE]: objectOfMembers({ key: TEXT, value: TEXT, "partialUpdate?": FLAG, ...WRITE_MEMBERS }),
    },
    answers: { 200: WRITTEN, 400: BAD, 403: FORBIDDEN, 409: STALE, 412: CONDITION, 413: TOO_LARGE },
    handle: postRecord,
  },
  {
    method: "POST",
    path: "/record/atomic",
    id: "postAtomic",
    summary: "Add to a counter",
    description: "The value is a decimal integer of 64 bits; a missing record counts as 0.",
    parameters: CONDITIONS,
    body: {
      [JSON_TYPE]: objectOfMembers({
        key: TEXT,
        "keyEncoding?": { enum: ["utf8", "base64"] },
        increment: { type: ["integer", "string"], description: "Beyond 53 bits as text, so that it is exact." },
      }),
    },
    answers: {
      200: {
        description: "The new value, on stable storage.",
        content: {
          [JSON_TYPE]: objectOfMembers({
            success: { const: true },
            result: INTEGER,
            newValue: INTEGER,
            key: TEXT,
            "keyEncoding?": { const: "base64" },
            message: TEXT,
          }),
        },
        headers: TAGGED,
      },
      400: BAD,
      403: FORBIDDEN,
      412: CONDITION,
      413: TOO_LARGE,
    },
    handle: postAtomic,
  },
  ...rawRoutes("/record/{key}", KEY_IN_PATH, ""),
  ...rawRoutes("/record", KEY_IN_QUERY, "ByQuery"),
];
