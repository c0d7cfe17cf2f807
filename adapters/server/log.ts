/** Structured logs: one object a line, with a level, and without secrets. */
import type { Log, LogLevel } from "./context.ts";

/** What the server tells about itself. */
export interface LogLine {
  /** ISO 8601. */
  time: string;
  level: LogLevel;
  message: string;
  [field: string]: unknown;
}

const LEVELS = ["debug", "info", "warn", "error", "silent"] as const;

/** A log that gives lines of `level` and above to `sink`. What `sink` throws is lost: a log never ends what it tells about. */
export function logOf(level: LogLevel | "silent", sink: (line: LogLine) => void): Log {
  const least = LEVELS.indexOf(level);
  const at = (name: LogLevel): Log["info"] => {
    if (LEVELS.indexOf(name) < least) return () => {};
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

/** A request's path and query for a log: keys of the API and tokens in it are left out. */
export function withoutSecrets(url: string): string {
  const start = url.indexOf("/", url.indexOf("://") + 3);
  const path = start < 0 ? "/" : url.slice(start);
  return path.replace(/([?&](?:api[-_]?key|x-api-key|token|access_token)=)[^&#]*/gi, "$1***");
}
