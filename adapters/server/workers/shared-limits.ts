/**
 * Limits of several processes that serve one store: each judges by what it knows, and tells the others, through the owner, what it let
 * through.
 *
 * 1. What one lets through is owed by the budgets of all, so that over time there is one budget. Within `TELL_MS` and the way to the others
 *    each knows only its own: so long, n processes may let n bursts through, which is then waited for.
 * 2. Connections and bytes in flight are sums; they may be exceeded by what is taken within the same time.
 * 3. A process that ends has nothing any more.
 */
import type { LimitKeeper } from "../context.ts";
import type { Limiter } from "../limits/limiter.ts";
import type { Principal } from "../principal.ts";
import type { LimitNews } from "./messages.ts";

/** How soon the others hear what was let through. */
const TELL_MS = 10;
/** How often it is looked whether connections came or went. */
const LOOK_MS = 100;

type Asker = Pick<Principal, "id" | "tenant" | "limits">;

/** The limits of one process. */
export class SharedLimits implements LimitKeeper {
  /** Connections at the port of HTTP that other processes have. */
  webElsewhere = 0;
  /** How many there are here. */
  webHere: () => number = () => 0;
  private readonly inner: Limiter;
  private readonly tell: (news: LimitNews) => void;
  private readonly spent = new Map<Asker, number>();
  private readonly changed = new Set<string>();
  private readonly failed = new Map<string, number>();
  private web = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly looking: ReturnType<typeof setInterval>;

  constructor(inner: Limiter, tell: (news: LimitNews) => void) {
    this.inner = inner;
    this.tell = tell;
    this.looking = setInterval(() => {
      if (this.webHere() !== this.web) this.soon();
    }, LOOK_MS);
    (this.looking as { unref?(): void }).unref?.();
  }

  request(principal: Asker, cost = 1): number {
    const wait = this.inner.request(principal, cost);
    if (wait > 0) return wait;
    this.spent.set(principal, (this.spent.get(principal) ?? 0) + cost);
    this.soon();
    return 0;
  }

  take(tenant: string, size: number): boolean {
    return this.noted(tenant, this.inner.take(tenant, size));
  }

  release(tenant: string, size: number): void {
    this.inner.release(tenant, size);
    this.noted(tenant, true);
  }

  connected(tenant: string): boolean {
    return this.noted(tenant, this.inner.connected(tenant));
  }

  disconnected(tenant: string): void {
    this.inner.disconnected(tenant);
    this.noted(tenant, true);
  }

  authenticationDelay(address: string): number {
    return this.inner.authenticationDelay(address);
  }

  authenticationFailed(address: string): void {
    this.inner.authenticationFailed(address);
    this.failed.set(address, (this.failed.get(address) ?? 0) + 1);
    this.soon();
  }

  /** What others have let through, and have. */
  hear({ spent, held, failed, web }: LimitNews): void {
    for (const [tenant, id, cost, limits] of spent) this.inner.spent({ tenant, id, limits: limits ?? undefined }, cost);
    for (const [tenant, connections, bytes] of held) this.inner.elsewhere(tenant, connections, bytes);
    for (const [address, count] of failed) for (let at = 0; at < count; at++) this.inner.failedElsewhere(address);
    this.webElsewhere = web;
  }

  close(): void {
    clearTimeout(this.timer);
    clearInterval(this.looking);
  }

  private noted(tenant: string, isTaken: boolean): boolean {
    if (isTaken) {
      this.changed.add(tenant);
      this.soon();
    }
    return isTaken;
  }

  private soon(): void {
    if (this.timer !== undefined) return;
    this.timer = setTimeout(() => {
      this.timer = undefined;
      this.send();
    }, TELL_MS);
    (this.timer as { unref?(): void }).unref?.();
  }

  private send(): void {
    const { spent, changed, failed, inner } = this;
    this.web = this.webHere();
    const news: LimitNews = {
      spent: [...spent].map(([{ tenant, id, limits }, cost]) => [tenant, id, cost, limits]),
      held: [...changed].map((tenant) => {
        const { connections, bytes } = inner.held(tenant);
        return [tenant, connections, bytes];
      }),
      failed: [...failed],
      web: this.web,
    };
    spent.clear();
    changed.clear();
    failed.clear();
    this.tell(news);
  }
}

/** A process in the exchange. */
interface Member {
  hear(news: LimitNews): void;
  held: Map<string, { connections: number; bytes: number }>;
  web: number;
}

/** Where the owner passes on what each process has told. */
export class LimitExchange {
  private readonly members = new Map<number, Member>();

  /** A process takes part from now on. */
  join(member: number, hear: (news: LimitNews) => void): void {
    this.members.set(member, { hear, held: new Map(), web: 0 });
    const tenants = new Set<string>();
    for (const { held } of this.members.values()) for (const tenant of held.keys()) tenants.add(tenant);
    hear({ spent: [], held: this.heldBeside(member, tenants), failed: [], web: this.webBeside(member) });
  }

  /** It is gone. */
  leave(member: number): void {
    const left = this.members.get(member);
    if (left === undefined) return;
    this.members.delete(member);
    this.tellOthers(member, { spent: [], failed: [] }, left.held.keys());
  }

  /** A process has told something. */
  told(member: number, { spent, held, failed, web }: LimitNews): void {
    const from = this.members.get(member);
    if (from === undefined) return;
    from.web = web;
    for (const [tenant, connections, bytes] of held) {
      if (connections === 0 && bytes === 0) from.held.delete(tenant);
      else from.held.set(tenant, { connections, bytes });
    }
    this.tellOthers(
      member,
      { spent, failed },
      held.map(([tenant]) => tenant),
    );
  }

  private tellOthers(from: number, news: Pick<LimitNews, "spent" | "failed">, tenants: Iterable<string>): void {
    const changed = [...tenants];
    for (const [member, { hear }] of this.members) {
      if (member !== from) hear({ ...news, held: this.heldBeside(member, changed), web: this.webBeside(member) });
    }
  }

  private heldBeside(member: number, tenants: Iterable<string>): LimitNews["held"] {
    return [...tenants].map((tenant) => {
      let connections = 0;
      let bytes = 0;
      for (const [other, { held }] of this.members) {
        if (other === member) continue;
        connections += held.get(tenant)?.connections ?? 0;
        bytes += held.get(tenant)?.bytes ?? 0;
      }
      return [tenant, connections, bytes];
    });
  }

  private webBeside(member: number): number {
    let sum = 0;
    for (const [other, { web }] of this.members) if (other !== member) sum += web;
    return sum;
  }
}
