/** Routes of ranges, of changes and of snapshots. */
import { JSON_TYPE } from "./answers.ts";
import { postRecords } from "./load.ts";
import { countRecords, deleteRecords, getRecords, NDJSON_TYPE } from "./ranges.ts";
import { RECORD, RECORD_TO_WRITE } from "./record-routes.ts";
import { type AnswerSpec, FLAG, INTEGER, inHeader, inQuery, objectOfMembers, type Route, TEXT } from "./route.ts";
import { deleteSnapshot, postSnapshot } from "./snapshots.ts";
import { EVENTS_TYPE, getWatch } from "./watch.ts";

const BOUNDS = [
  inQuery("startKey", TEXT, "The first key. Decoded twice, the second time where that can be."),
  inQuery("endKey", TEXT, "The last key. Decoded as startKey."),
  inQuery("start", TEXT, "The first key, decoded once."),
  inQuery("end", TEXT, "The last key, decoded once."),
  inQuery("after", TEXT, "The key behind which the range begins: to go on from the last one of a page."),
  inQuery("prefix", TEXT, "What keys start with."),
  inQuery("keyEncoding", { enum: ["utf8", "base64"] }, "base64: keys in the address are bytes in base64."),
];
const SNAPSHOT = inQuery("snapshot", TEXT, "Read through this snapshot.");
const BAD: AnswerSpec = { description: "The request is malformed, or beyond a limit." };
const FORBIDDEN: AnswerSpec = { description: "The key may not do this with the whole range." };
const GONE: AnswerSpec = { description: "There is no such snapshot." };
const CHANGE = objectOfMembers({
  type: { enum: ["set", "delete"] },
  key: TEXT,
  "keyEncoding?": { const: "base64" },
  "value?": TEXT,
  "encoding?": { const: "base64" },
  version: INTEGER,
});
const LOADED = objectOfMembers({
  success: FLAG,
  stored: INTEGER,
  failed: INTEGER,
  failures: {
    type: "array",
    description: "The first 1,000, by line.",
    items: objectOfMembers({ line: INTEGER, status: INTEGER, error: TEXT }),
  },
  "error?": TEXT,
  "message?": TEXT,
});

export const RANGE_ROUTES: readonly Route[] = [
  {
    method: "GET",
    path: "/records",
    id: "getRecords",
    summary: "A range of records",
    description:
      "A page as JSON, or with `Accept: application/x-ndjson` all of it as a stream of one moment, a record a line, as fast as it is read.",
    parameters: [
      ...BOUNDS,
      inQuery("limit", INTEGER, "Records at most. Of a page: 100 unless given, 1,000 at most."),
      inQuery("reverse", FLAG, "From the last key to the first."),
      inQuery("keysOnly", FLAG, "Without values."),
      SNAPSHOT,
    ],
    answers: {
      200: {
        description: "The records, in the order of their keys' bytes.",
        content: {
          [JSON_TYPE]: objectOfMembers({ records: { type: "array", items: RECORD }, count: INTEGER, truncated: FLAG }),
          [NDJSON_TYPE]: TEXT,
        },
      },
      400: BAD,
      403: FORBIDDEN,
      410: GONE,
    },
    handle: getRecords,
  },
  {
    method: "POST",
    path: "/records",
    id: "postRecords",
    summary: "Store many records",
    description:
      "One record as JSON a line, stored while they come; each line for itself. The limits are those of the store.",
    body: { [NDJSON_TYPE]: RECORD_TO_WRITE },
    answers: {
      200: { description: "All lines are on stable storage.", content: { [JSON_TYPE]: LOADED } },
      207: {
        description: "Some lines were not stored; the others are on stable storage.",
        content: { [JSON_TYPE]: LOADED },
      },
      400: { description: "No line was stored.", content: { [JSON_TYPE]: LOADED } },
      415: { description: "The body is no NDJSON." },
    },
    handle: postRecords,
  },
  {
    method: "DELETE",
    path: "/records",
    id: "deleteRecords",
    summary: "Delete a range of records",
    description: "All at once up to 10,000 records, else in steps, from the first key on.",
    parameters: [...BOUNDS, inQuery("all", FLAG, "Every record of the tenant, where no bound is given.")],
    answers: {
      200: {
        description: "Deleted, on stable storage.",
        content: { [JSON_TYPE]: objectOfMembers({ success: { const: true }, deleted: INTEGER }) },
      },
      400: BAD,
      403: FORBIDDEN,
    },
    handle: deleteRecords,
  },
  {
    method: "GET",
    path: "/records/count",
    id: "countRecords",
    summary: "How many records a range has",
    parameters: [...BOUNDS, SNAPSHOT],
    answers: {
      200: { description: "Their number.", content: { [JSON_TYPE]: objectOfMembers({ count: INTEGER }) } },
      400: BAD,
      403: FORBIDDEN,
      410: GONE,
    },
    handle: countRecords,
  },
  {
    method: "GET",
    path: "/watch",
    id: "watch",
    summary: "Changes as they become durable, as server-sent events",
    description:
      "Events `set` and `delete`, and `error` before it ends by itself. The id of an event is the version to go on from.",
    takesTokenInQuery: true,
    parameters: [
      ...BOUNDS,
      inHeader("last-event-id", "The id of the last event that was seen."),
      inQuery("since", INTEGER, "The same; 0: first all records that are there."),
      inQuery("token", TEXT, "A token, where no header can be sent. It is told about what it subscribes to."),
    ],
    answers: {
      200: { description: "Events; the data of each is a change as JSON.", content: { [EVENTS_TYPE]: CHANGE } },
      400: BAD,
      403: FORBIDDEN,
      410: { description: "What was deleted since then is not known any more. Read all, and watch from now on." },
    },
    handle: getWatch,
  },
  {
    method: "POST",
    path: "/snapshots",
    id: "postSnapshot",
    summary: "Hold the present state for reading",
    description: "Its id goes into `?snapshot=` of reads. It is closed when nobody has read through it for `idleMs`.",
    answers: {
      201: {
        description: "The snapshot.",
        content: { [JSON_TYPE]: objectOfMembers({ id: TEXT, version: INTEGER, idleMs: INTEGER }) },
      },
      403: { description: "Tokens hold no snapshots." },
      429: { description: "The tenant has too many open." },
    },
    handle: postSnapshot,
  },
  {
    method: "DELETE",
    path: "/snapshots/{id}",
    id: "deleteSnapshot",
    summary: "Let go of a snapshot",
    parameters: [{ name: "id", in: "path", schema: TEXT, description: "Its id." }],
    answers: {
      200: {
        description: "It is closed.",
        content: { [JSON_TYPE]: objectOfMembers({ success: { const: true }, message: TEXT }) },
      },
      404: { description: "There is no such snapshot." },
    },
    handle: deleteSnapshot,
  },
];
