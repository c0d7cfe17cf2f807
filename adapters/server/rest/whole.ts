/** What concerns a tenant or the store as a whole: tokens, figures, backup. */
import { ServerFailure } from "../failure.ts";
import { reply } from "../reply.ts";
import { jsonAnswer } from "./answers.ts";
import { objectOfBody } from "./body.ts";
import type { Call } from "./call.ts";
import { type PieceSource, streamOf } from "./streams.ts";

/** Patterns of a token, and characters of one. */
const PATTERNS_MAX = 1000;
const PATTERN_LENGTH_MAX = 1024;

/** `POST /token/websocket` */
export async function postToken(call: Call): Promise<Response> {
  const { access } = call.rest.context;
  if (call.isToken) call.deny("admin", undefined, "token");
  const body = await objectOfBody(call);
  const wants: Parameters<typeof access.issueToken>[1] = {};
  for (const name of ["subscribeKeys", "subscribePatterns"] as const) {
    const list = body[name];
    if (list === undefined || list === null) continue;
    if (!Array.isArray(list) || list.length > PATTERNS_MAX || !list.every(isPattern)) {
      throw new ServerFailure(
        400,
        `${name} must be an array of at most ${PATTERNS_MAX} texts of at most ${PATTERN_LENGTH_MAX} characters.`,
      );
    }
    wants[name] = list;
  }
  const { accessPattern } = body;
  if (accessPattern !== undefined && accessPattern !== null) {
    if (!isPattern(accessPattern)) {
      throw new ServerFailure(400, `accessPattern must be text of at most ${PATTERN_LENGTH_MAX} characters.`);
    }
    wants.accessPattern = accessPattern;
  }
  return jsonAnswer(200, JSON.stringify(access.issueToken(call.principal, wants, call.origin)));
}

function isPattern(value: unknown): value is string {
  return typeof value === "string" && value.length <= PATTERN_LENGTH_MAX;
}

/** `GET /stats` */
export async function getStats(call: Call): Promise<Response> {
  const { principal } = call;
  const isAdmin = principal.mayAll("admin");
  if (!isAdmin && !principal.mayAll("range")) call.deny("range");
  const tenant = { name: principal.tenant, keyCount: await call.operations.count() };
  if (!isAdmin) return jsonAnswer(200, JSON.stringify({ tenant }));
  const store = await call.rest.context.store.stats();
  return jsonAnswer(
    200,
    JSON.stringify({
      "Total records": String(store.keyCount),
      "Total disk usage": `${store.segmentUsedCount * store.segmentBytes} bytes`,
      "Device size": `${store.deviceBytes} bytes`,
      tenant,
      store,
    }),
  );
}

/** `GET /ping` */
export function getPing(): Response {
  return reply(200, "pong", { "content-type": "text/plain" });
}

/** `GET /backup` */
export async function getBackup(call: Call): Promise<Response> {
  call.allowAll("admin");
  const since = call.query.integer("since", 0);
  call.acts("backup");
  const backup = call.rest.context.store.backup(since === undefined ? {} : { since });
  const reader = backup.getReader();
  let version: number;
  try {
    version = await backup.version;
  } catch (error) {
    reader.cancel().catch(() => undefined);
    throw error;
  }
  const source: PieceSource = {
    async next() {
      const { done, value } = await reader.read();
      return done ? undefined : value;
    },
    end() {
      reader.cancel().catch(() => undefined);
    },
  };
  return reply(200, streamOf(call, source), {
    "content-type": "application/octet-stream",
    "content-disposition": `attachment; filename="cairn-${version}.backup"`,
    "x-backup-version": String(version),
  });
}

/** `POST /search`, `POST /query`: what this server does not have. */
export function notImplemented(): never {
  throw new ServerFailure(501, "Semantic search is not part of this server.");
}
