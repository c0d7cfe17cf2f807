/** Routes: what a request may ask for, how it is described, and what answers it. One table serves requests and makes the OpenAPI document. */
import type { Call } from "./call.ts";

export type Method = "GET" | "POST" | "PUT" | "DELETE";

/** A schema of JSON, as OpenAPI takes it. */
export type Schema = Readonly<Record<string, unknown>>;

/** A parameter of the address or a header. */
export interface Parameter {
  readonly name: string;
  readonly in: "path" | "query" | "header";
  readonly description: string;
  readonly schema: Schema;
}

/** One answer that a route gives, by its status. */
export interface AnswerSpec {
  readonly description: string;
  /** By media type; absent: a JSON error above 399, no body below. */
  readonly content?: Readonly<Record<string, Schema>>;
  readonly headers?: Readonly<Record<string, string>>;
}

/** One method of one path. */
export interface Route {
  readonly method: Method;
  /** `/record/{key}`: the last part may be a name in braces. */
  readonly path: string;
  readonly id: string;
  readonly summary: string;
  readonly description?: string;
  /** Whether it asks for nobody. */
  readonly isOpen?: boolean;
  /** Whether a token may come in the address: browsers' `EventSource` sends no headers. */
  readonly takesTokenInQuery?: boolean;
  readonly parameters?: readonly Parameter[];
  /** Bodies by media type. */
  readonly body?: Readonly<Record<string, Schema>>;
  readonly answers: Readonly<Record<number, AnswerSpec>>;
  handle(call: Call): Response | Promise<Response>;
}

export const TEXT: Schema = { type: "string" };
export const INTEGER: Schema = { type: "integer" };
export const FLAG: Schema = { type: "boolean" };
export const BYTES: Schema = { type: "string", format: "binary" };

/** An object of members, of which those whose names end with "?" may be absent. */
export function objectOfMembers(members: Readonly<Record<string, Schema>>): Schema {
  const names = Object.keys(members);
  return {
    type: "object",
    required: names.filter((name) => !name.endsWith("?")),
    properties: Object.fromEntries(names.map((name) => [name.replace("?", ""), members[name]])),
  };
}

/** A parameter of the query. */
export function inQuery(name: string, schema: Schema, description: string): Parameter {
  return { name, in: "query", schema, description };
}

/** A header of the request. */
export function inHeader(name: string, description: string): Parameter {
  return { name, in: "header", schema: TEXT, description };
}
