/** Structured logs: one object a line, with a level, and without secrets. */
import { LOG_LEVELS, type LogLevel, type LogLine } from "./config.ts";
import type { Log } from "./context.ts";
import { OPERATIONS } from "./metrics/operations.ts";

/** A log that gives lines of `level` and above to `sink`. What `sink` throws is lost: a log never ends what it tells about. */
export function logOf(level: LogLevel, sink: (line: LogLine) => void): Log {
  const least = LOG_LEVELS.indexOf(level);
  const at = (name: LogLine["level"]): Log["info"] => {
    if (LOG_LEVELS.indexOf(name) < least) return () => {};
    return (message, fields) => {
      try {
        sink({ time: new Date().toISOString(), level: name, message, ...fields });
      } catch {}
    };
  };
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

/** A line as JSON on standard error. */
export function toStandardError(line: LogLine): void {
  process.stderr.write(`${JSON.stringify(line, plain)}\n`);
}

function plain(_name: string, value: unknown): unknown {
  if (typeof value === "bigint") return String(value);
  if (value instanceof Error) return { name: value.name, message: value.message, stack: value.stack };
  return value;
}

/** Parameters of a query whose values say nothing about records or who asks. */
const TELLING = new Set([
  "limit",
  "reverse",
  "keysOnly",
  "since",
  "ttl",
  "timestamp",
  "keyEncoding",
  "encoding",
  "idleMs",
]);

/** First parts of paths that the server knows. Another one may be anything, put there by mistake. */
const FIRST_PARTS = new Set(["/ws", ...OPERATIONS.map(({ route }) => /^\/[^/]*/.exec(route ?? "/")?.[0])]);

/**
 * A request's path and query for a log: the path's first part where that is known, and the values of parameters that are known to tell nothing. Keys of the API,
 * tokens and records' keys are left out.
 */
export function withoutSecrets(url: string): string {
  const start = url.indexOf("/", url.indexOf("://") + 3);
  const [path = "/", query] = (start < 0 ? "/" : url.slice(start)).split("?", 2);
  const second = path.indexOf("/", 1);
  const first = second < 0 ? path : path.slice(0, second);
  const shown = `${FIRST_PARTS.has(first) ? first : "/***"}${second < 0 ? "" : "/***"}`;
  if (query === undefined) return shown;
  const parameters = query.split("&").map((parameter) => {
    const [name = "", value] = parameter.split("=", 2);
    if (TELLING.has(name)) return parameter;
    return value !== undefined && /^[\w-]{1,24}$/.test(name) ? `${name}=***` : "***";
  });
  return `${shown}?${parameters.join("&")}`;
}
