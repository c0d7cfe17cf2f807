/** A store of this process whose network workers serve: this process does their calls, one after the other, as those of its own. */
import { setImmediate } from "node:timers";
import type { WireStore } from "../../../store/connection/faces.ts";
import { summedSeconds } from "../activity.ts";
import type { ServedStore, ServerContext } from "../context.ts";
import { type Held, type Holder, type HolderParts, heldHere, type Listening, type Told } from "../holder.ts";
import type { Family } from "../metrics/families.ts";
import { remoteHandler } from "../remote/index.ts";
import { REST_SETTINGS } from "../rest/index.ts";
import { Snapshots } from "../rest/snapshots.ts";
import type { Tenants, View } from "../tenants.ts";
import type { UpgradeHandler } from "../wire.ts";
import { counted, type ProcessFamilies, summedFamilies } from "./gathered.ts";
import type { Answers, LimitNews, Question, ToOwner, ToWorker } from "./messages.ts";
import { KIND, type Pipe } from "./pipe.ts";
import { WorkerPool } from "./pool.ts";
import { LimitExchange, SharedLimits } from "./shared-limits.ts";
import { OwnerTunnels } from "./tunnels.ts";
import { WorkerSession } from "./worker-session.ts";

/** The owner among those who share limits. */
const OWNER = 0;
/** How long a worker may take to tell of itself: of one that is busier that counts which it told last. */
const TELL_MS = 2_000;

/** A store of this process, which workers serve. */
export function owningHolder(store: ServedStore): Holder {
  return { store, isElsewhere: false, hold: (parts) => new Owner(store, parts) };
}

interface Member {
  pipe: Pipe;
  session: WorkerSession;
  tunnels: OwnerTunnels;
  /** What it has told of itself last. */
  families: Family[];
}

class Owner implements Held {
  readonly operationsOf: Held["operationsOf"];
  readonly feed: Held["feed"];
  readonly limits: SharedLimits;
  readonly snapshots: Snapshots;
  private readonly store: ServedStore;
  private readonly parts: HolderParts;
  private readonly here: Held & { tenants: Tenants };
  private readonly exchange = new LimitExchange();
  private readonly pool: WorkerPool;
  private readonly members = new Map<number, Member>();
  private readonly questions = new Map<number, (message: Extract<ToOwner, { type: "telling" }>) => void>();
  private questionNext = 1;
  private remoteUpgrade: UpgradeHandler | undefined;
  private own: Told | undefined;
  /** What workers had counted that are gone. */
  private past: Family[][] = [];

  constructor(store: ServedStore, parts: HolderParts) {
    this.store = store;
    this.parts = parts;
    this.here = heldHere(store, parts);
    this.operationsOf = this.here.operationsOf;
    this.feed = this.here.feed;
    this.snapshots = new Snapshots(parts, REST_SETTINGS);
    this.limits = new SharedLimits(parts.limiter, (news) => this.exchange.told(OWNER, news));
    this.exchange.join(OWNER, (news) => this.limits.hear(news));
    this.here.tenants.onPatched = (namespace, version, key, shown) => {
      for (const { pipe } of this.members.values()) tell(pipe, { type: "patched", namespace, version, key, shown });
    };
    this.pool = new WorkerPool(parts.settings.workers, parts.log, {
      joined: (worker, pipe) => this.joined(worker, pipe),
      frame: (worker, kind, bytes) => this.frame(worker, kind, bytes),
      drained: (worker) => this.drained(worker),
      message: (worker, message) => this.hear(worker, message),
      left: (worker) => this.left(worker),
    });
  }

  remote(context: ServerContext): UpgradeHandler {
    this.remoteUpgrade = remoteHandler({ ...context, store: this.store });
    return this.remoteUpgrade;
  }

  told(own: Parameters<Held["told"]>[0]): Told {
    const here = this.here.told(own);
    this.own = here;
    return {
      families: () => this.families(),
      slow: here.slow,
      activity: { list: (count) => this.activity(count) },
    };
  }

  async listen(): Promise<Listening> {
    const { settings } = this.parts;
    const place = await this.pool.start(settings.host, settings.port, settings.riocPort);
    return {
      ...place,
      // Of these tells who has them.
      connections: 0,
      http: { open: 0, opened: 0 },
      traffic: { web: { received: 0, sent: 0 }, rioc: { received: 0, sent: 0 } },
      close: (graceMs) => this.pool.close(graceMs),
    };
  }

  end(): void {
    this.limits.close();
    this.here.end();
  }

  private joined(worker: number, pipe: Pipe): Extract<ToWorker, { type: "settings" }> {
    const { store } = this;
    const bytes = store.withEncodings({ keyEncoding: "binary", valueEncoding: "binary" });
    const session = crypto.randomUUID();
    const parts = {
      tenants: this.here.tenants,
      snapshots: this.snapshots,
      segments: (first: number, count: number) => store.segments(first, count),
      version: () => store.version,
      snapshot: () => store.snapshot() as unknown as View,
    };
    this.members.set(worker, {
      pipe,
      session: new WorkerSession(bytes as unknown as WireStore, parts, session, {
        send: (frame) => pipe.send(KIND.calls, frame),
        get isFull() {
          return pipe.isFull;
        },
        broken: (error) => this.broken(worker, pipe, error),
      }),
      tunnels: new OwnerTunnels(
        () => this.remoteUpgrade,
        (...said) => pipe.send(KIND.tunnel, ...said),
      ),
      families: [],
    });
    const { log, audit, ...settings } = this.parts.settings;
    const takesAudit = typeof audit === "function";
    const sent = { ...settings, audit: takesAudit ? undefined : audit };
    // It hears of limits when it can judge by them: behind its settings.
    setImmediate(() => {
      if (this.members.get(worker)?.pipe !== pipe) return;
      this.exchange.join(worker, (news: LimitNews) => tell(pipe, { type: "limits", news }));
    });
    const takesLog = log !== undefined;
    const reusePort = this.pool.isSharingByOption;
    return { type: "settings", settings: sent, takesLog, takesAudit, reusePort, session };
  }

  private frame(worker: number, kind: number, bytes: Buffer): void {
    this.withMember(worker, ({ session, tunnels }) => {
      if (kind === KIND.calls) session.calls(bytes);
      else if (kind === KIND.tunnel) tunnels.frame(bytes);
    });
  }

  private drained(worker: number): void {
    this.withMember(worker, ({ session }) => session.drained());
  }

  private withMember(worker: number, does: (member: Member) => void): void {
    const member = this.members.get(worker);
    if (member === undefined) return;
    try {
      does(member);
    } catch (error) {
      this.broken(worker, member.pipe, error);
    }
  }

  private broken(worker: number, pipe: Pipe, error: unknown): void {
    this.parts.log.error("a worker was not understood, and is ended", { worker, error });
    pipe.destroy();
  }

  private hear(worker: number, message: ToOwner): void {
    const { log, settings, slow } = this.parts;
    switch (message.type) {
      case "limits":
        this.exchange.told(worker, message.news);
        return;
      case "ask":
        void this.answer(worker, message.id, message.question);
        return;
      case "telling":
        this.questions.get(message.id)?.(message);
        return;
      case "slow":
        slow.keep(message.operation);
        return;
      case "log":
        try {
          settings.log?.(message.line);
        } catch {}
        return;
      case "audit":
        try {
          if (typeof settings.audit === "function") settings.audit(message.entry);
        } catch (error) {
          log.error("The audit log's function threw", { error });
        }
        return;
    }
  }

  private left(worker: number): void {
    const member = this.members.get(worker);
    if (member === undefined) return;
    this.members.delete(worker);
    this.exchange.leave(worker);
    member.session.end();
    member.tunnels.end();
    const counts = counted(member.families);
    // One sum of all that are gone, however many there were.
    if (counts.length > 0) this.past = [summedFamilies([], [...this.past, counts])];
  }

  private async answer(worker: number, id: number, question: Question): Promise<void> {
    let value: Answers[keyof Answers];
    if (question.what === "families") value = await this.families();
    else if (question.what === "activity") value = await this.activity(question.count);
    else value = this.parts.slow.list();
    const pipe = this.members.get(worker)?.pipe;
    if (pipe !== undefined) tell(pipe, { type: "answer", id, value });
  }

  private async families(): Promise<Family[]> {
    const own: ProcessFamilies = { name: "owner", families: (await this.own?.families()) ?? [] };
    const others = await this.ask({ what: "families" });
    for (const [worker, { families }] of others) {
      const member = this.members.get(worker);
      if (families !== undefined && member !== undefined) member.families = families;
    }
    // One that is too busy to tell counts as it told last: no counter goes back.
    const processes = [...this.members].map(
      ([worker, { families }]): ProcessFamilies => ({ name: String(worker), families }),
    );
    return [...summedFamilies([own, ...processes], this.past), ...this.poolFamilies()];
  }

  private async activity(count: number): Promise<Answers["activity"]> {
    const others = await this.ask({ what: "activity", count });
    return summedSeconds([this.parts.activity.raw(count), ...others.map(([, { seconds }]) => seconds ?? [])], count);
  }

  /** Asks all workers; those that do not answer in time are not among the answers. */
  private async ask(question: Question): Promise<[worker: number, Extract<ToOwner, { type: "telling" }>][]> {
    const asked = this.pool.listening.map(
      ({ worker, pipe }) =>
        new Promise<[number, Extract<ToOwner, { type: "telling" }>] | undefined>((resolve) => {
          const id = this.questionNext++;
          const end = (message?: Extract<ToOwner, { type: "telling" }>): void => {
            clearTimeout(late);
            this.questions.delete(id);
            resolve(message && [worker, message]);
          };
          const late = setTimeout(end, TELL_MS);
          this.questions.set(id, end);
          tell(pipe, { type: "tell", id, question });
        }),
    );
    return (await Promise.all(asked)).filter((told) => told !== undefined);
  }

  private poolFamilies(): Family[] {
    const one = (value: number): { labels: []; value: number }[] => [{ labels: [], value }];
    return [
      { name: "cairn_workers", type: "gauge", help: "Workers that listen.", samples: one(this.pool.listening.length) },
      {
        name: "cairn_worker_restarts_total",
        type: "counter",
        help: "Times that a worker had ended and was started again.",
        samples: one(this.pool.restarts),
      },
    ];
  }
}

function tell(pipe: Pipe, message: ToWorker): void {
  pipe.control(message);
}
