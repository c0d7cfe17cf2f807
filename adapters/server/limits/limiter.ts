/**
 * What may go on: requests, long-lived connections and bytes in flight, for each tenant and in all; requests also for keys that have a rate.
 *
 * 1. A refusal takes nothing, from none of the budgets.
 * 2. What is remembered is bounded: tenants are those of the keys file, and one without a trace is forgotten; addresses are at most
 *    `ADDRESS_COUNT_MAX`, the oldest going first.
 */
import type { LimitKeeper } from "../context.ts";
import type { Principal } from "../principal.ts";
import { Bucket } from "./bucket.ts";
import { KeyRates } from "./key-rates.ts";

/** The limits that are kept here, of the server or of a tenant. */
export interface KeptLimits {
  requestsPerSecond: number;
  burst: number;
  connections: number;
  bytesInFlight: number;
}

const ADDRESS_COUNT_MAX = 10_000;
/** Failed authentications of one address: at once, and a second. */
const FAILURES_BURST = 20;
const FAILURES_PER_SECOND = 1;

class Account {
  readonly limits: KeptLimits;
  readonly requests: Bucket;
  connections = 0;
  bytes = 0;
  /** Of these what other processes of the same server have. */
  connectionsElsewhere = 0;
  bytesElsewhere = 0;
  /** Requests that were let through, and that were not. */
  admitted = 0;
  refused = 0;

  constructor(limits: KeptLimits, now: number) {
    this.limits = limits;
    this.requests = new Bucket(limits.requestsPerSecond, limits.burst, now);
  }
}

export class Limiter implements LimitKeeper {
  /** What was refused so far, and keys that did not count. */
  refusedRequests = 0;
  refusedBytes = 0;
  refusedConnections = 0;
  authenticationFailures = 0;
  refusedAttempts = 0;
  private readonly all: Account;
  private readonly limitsOf: (tenant: string) => KeptLimits;
  private readonly tenants = new Map<string, Account>();
  private readonly rates = new KeyRates();
  private readonly failures = new Map<string, Bucket>();
  private readonly now: () => number;

  /** `now`: milliseconds of a clock that never goes back. */
  constructor(all: KeptLimits, limitsOf: (tenant: string) => KeptLimits, now: () => number = () => performance.now()) {
    this.now = now;
    this.all = new Account(all, now());
    this.limitsOf = limitsOf;
  }

  request(principal: Pick<Principal, "id" | "tenant" | "limits">, cost = 1, now = this.now()): number {
    const account = this.accountOf(principal.tenant);
    const { limits } = principal;
    const own = limits === undefined ? undefined : this.rates.of(principal.id, limits, now);
    let wait = Math.max(account.requests.wait(cost, now), this.all.requests.wait(cost, now));
    if (own !== undefined) wait = Math.max(wait, own.wait(cost, now));
    if (wait > 0) {
      this.refusedRequests += cost;
      account.refused += cost;
      return wait / 1000;
    }
    account.admitted += cost;
    account.requests.take(cost);
    own?.take(cost);
    this.all.requests.take(cost);
    return 0;
  }

  take(tenant: string, size: number): boolean {
    const account = this.accountOf(tenant);
    const bytes = account.bytes + account.bytesElsewhere + size;
    const all = this.all.bytes + this.all.bytesElsewhere + size;
    if (bytes > account.limits.bytesInFlight || all > this.all.limits.bytesInFlight) {
      this.refusedBytes++;
      return false;
    }
    account.bytes += size;
    this.all.bytes += size;
    return true;
  }

  release(tenant: string, size: number): void {
    this.accountOf(tenant).bytes -= size;
    this.all.bytes -= size;
  }

  connected(tenant: string): boolean {
    const account = this.accountOf(tenant);
    const connections = account.connections + account.connectionsElsewhere;
    const all = this.all.connections + this.all.connectionsElsewhere;
    if (connections >= account.limits.connections || all >= this.all.limits.connections) {
      this.refusedConnections++;
      return false;
    }
    account.connections++;
    this.all.connections++;
    return true;
  }

  disconnected(tenant: string): void {
    this.accountOf(tenant).connections--;
    this.all.connections--;
  }

  authenticationDelay(address: string): number {
    const bucket = this.failures.get(networkOf(address));
    const wait = bucket === undefined ? 0 : bucket.wait(1, this.now()) / 1000;
    if (wait > 0) this.refusedAttempts++;
    return wait;
  }

  authenticationFailed(address: string): void {
    this.authenticationFailures++;
    this.noteFailure(address);
  }

  private noteFailure(address: string): void {
    const now = this.now();
    const network = networkOf(address);
    let bucket = this.failures.get(network);
    if (bucket === undefined) {
      if (this.failures.size >= ADDRESS_COUNT_MAX) this.failures.delete(this.failures.keys().next().value as string);
      bucket = new Bucket(FAILURES_PER_SECOND, FAILURES_BURST, now);
      this.failures.set(network, bucket);
    }
    // Beyond what is there nothing is owed: an address that goes on trying is heard again after as long.
    if (bucket.wait(1, now) === 0) bucket.take(1);
  }

  /** Requests that another process of the same server has let through: they are owed here, too. */
  spent({ id, tenant, limits }: Pick<Principal, "id" | "tenant" | "limits">, cost: number): void {
    const now = this.now();
    const buckets = [this.accountOf(tenant).requests, this.all.requests];
    if (limits !== undefined) buckets.push(this.rates.of(id, limits, now));
    for (const bucket of buckets) {
      bucket.wait(cost, now);
      bucket.take(cost);
    }
  }

  /** What other processes of the same server have at present for a tenant. */
  elsewhere(tenant: string, connections: number, bytes: number): void {
    const account = this.accountOf(tenant);
    this.all.connectionsElsewhere += connections - account.connectionsElsewhere;
    this.all.bytesElsewhere += bytes - account.bytesElsewhere;
    account.connectionsElsewhere = connections;
    account.bytesElsewhere = bytes;
  }

  /** What a tenant has here at present. */
  held(tenant: string): { connections: number; bytes: number } {
    const { connections = 0, bytes = 0 } = this.tenants.get(tenant) ?? {};
    return { connections, bytes };
  }

  /** An address has failed at another process of the same server. */
  failedElsewhere(address: string): void {
    this.noteFailure(address);
  }

  /** Forgets what leaves no trace. Called now and then. */
  sweep(): void {
    const now = this.now();
    this.rates.sweep(now);
    for (const [tenant, account] of this.tenants) {
      const { connections, connectionsElsewhere, bytes, bytesElsewhere, requests } = account;
      if (connections + connectionsElsewhere + bytes + bytesElsewhere > 0 || !requests.isFull(now)) continue;
      this.tenants.delete(tenant);
    }
    for (const [network, bucket] of this.failures) if (bucket.isFull(now)) this.failures.delete(network);
  }

  /** How many tenants and addresses are remembered, and what is in flight. */
  get stats(): { tenants: number; addresses: number; connections: number; bytesInFlight: number } {
    const { connections, bytes } = this.all;
    return { tenants: this.tenants.size, addresses: this.failures.size, connections, bytesInFlight: bytes };
  }

  get bytesInFlight(): number {
    return this.all.bytes;
  }

  /** What each tenant has had since it is remembered: one without a trace is forgotten, and begins anew. */
  *tenantCounts(): Generator<{
    tenant: string;
    requests: number;
    refused: number;
    connections: number;
    bytes: number;
  }> {
    for (const [tenant, { admitted, refused, connections, bytes }] of this.tenants) {
      yield { tenant, requests: admitted, refused, connections, bytes };
    }
  }

  private accountOf(tenant: string): Account {
    let account = this.tenants.get(tenant);
    if (account === undefined) {
      account = new Account(this.limitsOf(tenant), this.now());
      this.tenants.set(tenant, account);
    }
    return account;
  }
}

/** Whom an address belongs to: of IPv6 one has 2^64, so its network counts. */
export function networkOf(address: string): string {
  const bare = address.startsWith("::ffff:") ? address.slice(7) : address;
  if (!bare.includes(":")) return bare;
  const [head = "", tail] = bare.split("::");
  const groups = head === "" ? [] : head.split(":");
  if (tail !== undefined) {
    const after = tail === "" ? [] : tail.split(":");
    while (groups.length + after.length < 8) groups.push("0");
    groups.push(...after);
  }
  return groups.slice(0, 4).join(":");
}
