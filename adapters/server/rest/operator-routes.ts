/** Routes for whoever operates the server, and for consoles: what is more than the figures of `GET /stats`. */
import { VERBS } from "../principal.ts";
import { JSON_TYPE } from "./answers.ts";
import { getActivity, getRights, getSegments, getSlow } from "./operator.ts";
import { type AnswerSpec, INTEGER, inQuery, objectOfMembers, type Route, type Schema, TEXT } from "./route.ts";

const FORBIDDEN: AnswerSpec = { description: "The key is none of an administrator of the store as a whole." };
const NUMBER: Schema = { type: "number" };
const VERB_LIST: Schema = { type: "array", items: { enum: VERBS } };

/** An answer of an object. */
function answer(description: string, members: Readonly<Record<string, Schema>>): AnswerSpec {
  return { description, content: { [JSON_TYPE]: objectOfMembers(members) } };
}

function listOf(members: Readonly<Record<string, Schema>>): Schema {
  return { type: "array", items: objectOfMembers(members) };
}

export const OPERATOR_ROUTES: readonly Route[] = [
  {
    method: "GET",
    path: "/rights",
    id: "getRights",
    summary: "What the key may do",
    description: "With all keys of its tenant; with one, and with all that start with a prefix, where these are given.",
    parameters: [
      inQuery("key", TEXT, "A key."),
      inQuery("prefix", TEXT, "What keys start with."),
      inQuery("keyEncoding", { enum: ["utf8", "base64"] }, "base64: keys in the address are bytes in base64."),
    ],
    answers: {
      200: answer("Who it is, and the verbs. `admin` in `all`: the store as a whole.", {
        id: TEXT,
        tenant: TEXT,
        all: VERB_LIST,
        "key?": VERB_LIST,
        "prefix?": VERB_LIST,
      }),
      400: { description: "The request is malformed." },
    },
    handle: getRights,
  },
  {
    method: "GET",
    path: "/stats/segments",
    id: "getSegments",
    summary: "What lies where on the store's device",
    description: "For administrators. Neighbouring segments are one cell where there are more than 2,048.",
    answers: {
      200: answer("The cells, in the device's order.", {
        segmentCount: INTEGER,
        segmentBytes: INTEGER,
        segmentsPerCell: INTEGER,
        cells: listOf({
          first: INTEGER,
          free: INTEGER,
          log: INTEGER,
          checkpoint: INTEGER,
          usedBytes: INTEGER,
          liveBytes: INTEGER,
        }),
      }),
      403: FORBIDDEN,
    },
    handle: getSegments,
  },
  {
    method: "GET",
    path: "/stats/slow",
    id: "getSlow",
    summary: "The newest slow operations",
    description: "For administrators. The newest 128, without keys and values, newest first.",
    answers: {
      200: answer("The operations, and from how many milliseconds on one counts as slow.", {
        thresholdMs: NUMBER,
        operations: listOf({ at: INTEGER, operation: TEXT, ms: NUMBER, tenant: TEXT, "requestId?": TEXT }),
      }),
      403: FORBIDDEN,
    },
    handle: getSlow,
  },
  {
    method: "GET",
    path: "/stats/activity",
    id: "getActivity",
    summary: "What the server did lately, by the second",
    description: "For administrators. The last two minutes, oldest first: operations, and how long they took.",
    answers: {
      200: answer("The seconds.", {
        seconds: listOf({ at: INTEGER, count: INTEGER, p50Ms: NUMBER, p99Ms: NUMBER, maxMs: NUMBER }),
      }),
      403: FORBIDDEN,
    },
    handle: getActivity,
  },
];
