/** One request on its way through its handler. */
import type { Origin } from "../access/index.ts";
import { ServerFailure } from "../failure.ts";
import { headerOf } from "../listen/request.ts";
import { StoreOperations } from "../operations/store-operations.ts";
import type { Principal, Verb } from "../principal.ts";
import { decodedSegment, Query } from "./address.ts";
import { TEXTS } from "./answers.ts";
import { bytesOfBase64 } from "./base64.ts";
import type { RestContext, RestSettings } from "./context.ts";
import type { SnapshotKeeper } from "./snapshots.ts";

type Key = string | Uint8Array;

/** What all requests of one server share. */
export interface Rest {
  readonly context: RestContext;
  readonly settings: RestSettings;
  readonly snapshots: SnapshotKeeper;
}

/** See above. */
export class Call {
  readonly rest: Rest;
  readonly request: Request;
  /** Absent only where a route asks for nobody. */
  readonly principal: Principal;
  /** What the path has for `{key}` or `{id}`, still encoded; `undefined`: the route has none. */
  private readonly segment: string | undefined;
  private readonly queryText: string;
  private readonly address: string;
  private parsedQuery: Query | undefined;
  /** Bytes that are taken from what may be in flight. */
  private held = 0;

  constructor(
    rest: Rest,
    request: Request,
    principal: Principal | undefined,
    segment: string | undefined,
    query: string,
    address: string,
  ) {
    this.rest = rest;
    this.request = request;
    this.principal = principal as Principal;
    this.segment = segment;
    this.queryText = query;
    this.address = address;
  }

  get query(): Query {
    this.parsedQuery ??= new Query(this.queryText);
    return this.parsedQuery;
  }

  get hasQuery(): boolean {
    return this.queryText !== "";
  }

  get operations(): StoreOperations {
    const operations = this.rest.context.operationsOf(this.principal.tenant);
    if (operations instanceof StoreOperations) return operations;
    throw new TypeError("REST needs the operations that Tenants makes");
  }

  /** The last part of the path, decoded. */
  get id(): string {
    return decodedSegment(this.segment ?? "");
  }

  /** The key of a route on one record: from the path, or where that has none from the query. Not empty. */
  key(): Key {
    let text = this.segment === undefined ? undefined : decodedSegment(this.segment);
    if (this.hasQuery) {
      text ??= this.query.text("key");
      if (this.keysAreBase64) return nonEmpty(bytesOfKey(text ?? "", "key"));
    }
    return nonEmpty(text ?? "");
  }

  /** Whether keys in this request's address are base64. */
  get keysAreBase64(): boolean {
    const encoding = this.hasQuery ? this.query.text("keyEncoding") : undefined;
    if (encoding === undefined || encoding === "utf8") return false;
    if (encoding === "base64") return true;
    throw new ServerFailure(400, 'keyEncoding must be "base64", or left out.');
  }

  /** A header, or `undefined`. */
  header(name: string): string | undefined {
    return headerOf(this.request, name) ?? undefined;
  }

  /** Throws 403 unless `verb` is allowed for a key. */
  allow(verb: Verb, key: Key): void {
    if (!this.principal.may(verb, key)) this.deny(verb, key);
  }

  /** Throws 403 unless `verb` is allowed for the whole tenant, or store. */
  allowAll(verb: Verb): void {
    if (!this.principal.mayAll(verb)) this.deny(verb);
  }

  /** Throws 403, and tells the audit log of it. `operation`: what was asked for, where verb and key do not say it. */
  deny(verb: Verb, key?: Key, operation?: string): never {
    this.rest.context.access.denied(this.principal, verb, key, { ...this.origin, operation });
    throw new ServerFailure(403, TEXTS.forbidden);
  }

  /** Tells the audit log of what is done to the store as a whole. */
  acts(operation: string): void {
    const { id, tenant } = this.principal;
    this.rest.context.access.audit.admin(operation, { key: id, tenant, ...this.origin });
  }

  /** Where the request came from. */
  get origin(): Origin {
    return { address: this.address, protocol: "rest" };
  }

  /** Whether it comes with a token, which is for few keys and a short time. */
  get isToken(): boolean {
    return this.principal.subscribes !== undefined;
  }

  /** Takes bytes from what may be in flight, until the answer is ready. 429 where that is too much. */
  hold(size: number): void {
    const { limits } = this.rest.context;
    if (!limits.take(this.principal.tenant, size)) {
      throw new ServerFailure(429, "Too many bytes are in flight. Send less at once.", 1);
    }
    this.held += size;
  }

  /** Gives back what was taken. */
  release(): void {
    const { held } = this;
    this.held = 0;
    if (held > 0) this.rest.context.limits.release(this.principal.tenant, held);
  }
}

/** The bytes of a key in base64. */
export function bytesOfKey(text: string, name: string): Uint8Array {
  const bytes = bytesOfBase64(text);
  if (bytes === undefined) throw new ServerFailure(400, `${name} is no base64.`);
  return bytes;
}

function nonEmpty(key: Key): Key {
  if (key.length === 0) throw new ServerFailure(400, "The key is empty.");
  return key;
}

export function notFound(): ServerFailure {
  return new ServerFailure(404, TEXTS.notFound);
}
