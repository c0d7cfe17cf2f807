/** Checks of fields that people write, in the configuration and in the keys file. Each error says field, value, what is allowed. */
import { CairnError } from "../../../store/error.ts";

/** What is thrown for a field. Only the beginning of a long value is told. */
export function wrong(field: string, value: unknown, allowed: string): CairnError {
  const told = value === undefined ? "it is missing" : `it is ${shown(value)}`;
  return new CairnError("INVALID_ARGUMENT", "config", `${field} must be ${allowed}; ${told}.`);
}

/** Throws for fields that are not among `known`, with the one that is meant when it is plain. */
export function refuseUnknown(given: Record<string, unknown>, known: readonly string[], place: string): void {
  for (const name of Object.keys(given)) {
    if (known.includes(name)) continue;
    const field = place === "" ? name : `${place}.${name}`;
    const near = nearest(name, known);
    const hint = near === undefined ? `there are ${known.join(", ")}` : `did you mean ${near}?`;
    throw new CairnError("INVALID_ARGUMENT", "config", `${field} is no field that is known; ${hint}`);
  }
}

/** An object that is no list. */
export function record(value: unknown, field: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw wrong(field, value, "an object");
  return value as Record<string, unknown>;
}

export function textOf(value: unknown, field: string, allowed = "text that is not empty"): string | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== "string" || value === "") throw wrong(field, value, allowed);
  return value;
}

export function flagOf(value: unknown, field: string): boolean | undefined {
  if (value === undefined || typeof value === "boolean") return value;
  throw wrong(field, value, "true or false");
}

export function functionOf(value: unknown, field: string): unknown {
  if (value === undefined || typeof value === "function") return value;
  throw wrong(field, value, "a function");
}

/** A whole number of a range, both ends included. */
export function countOf(value: unknown, field: string, min: number, max: number): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value === "number" && Number.isInteger(value) && value >= min && value <= max) return value;
  throw wrong(field, value, `a whole number from ${min} to ${max}`);
}

export function portOf(value: unknown, field: string): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= 65_535) return value;
  throw wrong(field, value, "a port from 0 (any that is free) to 65535");
}

export function choiceOf<Choice extends string>(
  value: unknown,
  choices: readonly Choice[],
  field: string,
): Choice | undefined {
  if (value === undefined || choices.includes(value as Choice)) return value as Choice | undefined;
  throw wrong(
    field,
    value,
    choices
      .map((choice) => JSON.stringify(choice))
      .join(", ")
      .replace(/, ([^,]*)$/, " or $1"),
  );
}

export function listOf(value: unknown, field: string, allowed: string): readonly unknown[] | undefined {
  if (value === undefined || Array.isArray(value)) return value;
  throw wrong(field, value, allowed);
}

/** A moment in ISO 8601, in milliseconds since the epoch. */
export function momentOf(value: unknown, field: string): number | undefined {
  if (value === undefined) return undefined;
  const ms = typeof value === "string" && /^\d{4}-\d{2}-\d{2}(T|$)/.test(value) ? Date.parse(value) : Number.NaN;
  if (!Number.isNaN(ms)) return ms;
  throw wrong(field, value, "a date, or date and time, in ISO 8601, as 2030-01-31T12:00:00Z");
}

function shown(value: unknown): string {
  if (typeof value === "function") return "a function";
  let text: string;
  try {
    text = JSON.stringify(value) ?? String(value);
  } catch {
    text = String(value);
  }
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

/** The known name that differs in a few letters. */
function nearest(name: string, known: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(name.length / 3)) + 1;
  for (const candidate of known) {
    const distance = editDistance(name.toLowerCase().slice(0, 64), candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (let i = 0; i < a.length; i++) {
    const next = [i + 1];
    for (let j = 0; j < b.length; j++) {
      const replaced = (row[j] as number) + (a[i] === b[j] ? 0 : 1);
      next.push(Math.min(replaced, (row[j + 1] as number) + 1, (next[j] as number) + 1));
    }
    row = next;
  }
  return row[b.length] as number;
}
