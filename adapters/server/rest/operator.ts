/** What concerns whoever operates the server: the store's segments, slow operations, what was done lately; and what a key may do. */
import { nextTurn } from "../../../store/turn.ts";
import { VERBS, type Verb } from "../principal.ts";
import { jsonAnswer } from "./answers.ts";
import type { Call } from "./call.ts";
import { boundOf, lastWith } from "./ranges.ts";

/** Cells of a map of segments at most, and segments that are looked at in one turn of the event loop. */
const CELLS_MAX = 2048;
const SEGMENTS_PER_TURN = 8192;
const SECONDS = 120;

/** Neighbouring segments, as one. */
interface Cell {
  /** The first one's number. */
  first: number;
  free: number;
  log: number;
  checkpoint: number;
  /** Bytes in use of segments of records, and of these those that are live. */
  usedBytes: number;
  liveBytes: number;
}

/** `GET /stats/segments` */
export async function getSegments(call: Call): Promise<Response> {
  call.allowAll("admin");
  const { store } = call.rest.context;
  const { segmentCount, segmentBytes } = await store.stats();
  const segmentsPerCell = Math.max(1, Math.ceil(segmentCount / CELLS_MAX));
  const cells: Cell[] = [];
  for (let first = 0; first < segmentCount; first += SEGMENTS_PER_TURN) {
    if (first > 0) await new Promise<void>(nextTurn);
    for (const { segment, kind, usedBytes, liveBytes } of await store.segments(first, SEGMENTS_PER_TURN)) {
      const at = Math.floor(segment / segmentsPerCell);
      cells[at] ??= { first: segment, free: 0, log: 0, checkpoint: 0, usedBytes: 0, liveBytes: 0 };
      const cell = cells[at];
      if (kind === "free") cell.free++;
      else if (kind === "checkpoint") cell.checkpoint++;
      else {
        cell.log++;
        cell.usedBytes += usedBytes;
        cell.liveBytes += liveBytes;
      }
    }
  }
  return jsonAnswer(200, JSON.stringify({ segmentCount, segmentBytes, segmentsPerCell, cells }));
}

/** `GET /stats/slow` */
export async function getSlow(call: Call): Promise<Response> {
  call.allowAll("admin");
  const { slow } = call.rest.context;
  const operations = (await slow.list()).map(({ at, ms, ...rest }) => ({ at: Math.round(at), ms, ...rest }));
  return jsonAnswer(200, JSON.stringify({ thresholdMs: slow.thresholdMs, operations }));
}

/** `GET /stats/activity` */
export async function getActivity(call: Call): Promise<Response> {
  call.allowAll("admin");
  const { activity } = call.rest.context;
  return jsonAnswer(200, JSON.stringify({ seconds: await activity.list(SECONDS) }));
}

/** `GET /rights` */
export function getRights(call: Call): Response {
  const { principal } = call;
  const key = boundOf(call, "key");
  const prefix = boundOf(call, "prefix");
  const those = (may: (verb: Verb) => boolean): Verb[] => VERBS.filter(may);
  const rights = {
    id: principal.id,
    tenant: principal.tenant,
    all: those((verb) => principal.mayAll(verb)),
    ...(key === undefined ? {} : { key: those((verb) => principal.may(verb, key)) }),
    ...(prefix === undefined ? {} : { prefix: those((verb) => principal.mayRange(verb, prefix, lastWith(prefix))) }),
  };
  return jsonAnswer(200, JSON.stringify(rights));
}
