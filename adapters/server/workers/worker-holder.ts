/** The store as a worker sees it: its owner, over a pipe. */
import type { Line } from "../../../store/connection/connection.ts";
import { Conversation } from "../../../store/connection/conversation.ts";
import { framesOf, readServerFrame } from "../../../store/connection/frames.ts";
import { ConnectionSnapshot } from "../../../store/connection/snapshot.ts";
import type { WireView } from "../../../store/connection/wire.ts";
import type { SegmentUse } from "../../../store/segments.ts";
import type { ServerLimits } from "../config.ts";
import { Feed } from "../feed/feed.ts";
import type { Held, Holder, HolderParts, Told } from "../holder.ts";
import { PatchNotes } from "../operations/patch-notes.ts";
import type { SnapshotKeeper } from "../rest/snapshots.ts";
import type { View } from "../tenants.ts";
import type { Answers, LimitNews, Question, ToOwner, ToWorker } from "./messages.ts";
import { KIND, type Pipe } from "./pipe.ts";
import { SERVE } from "./served-operations.ts";
import { SharedLimits } from "./shared-limits.ts";
import { WorkerTunnels } from "./tunnels.ts";
import { type Ask, askOver, connectionTo, WorkerOperations } from "./worker-operations.ts";

/** A frame of calls takes what a call needs: a value has 64 MiB at most, and what is around it little. */
const FRAME_SIZE_MAX = 1024 * 1024 * 1024;

/** How long a tenant is watched without subscribers: longer than an upgrade takes. */
const LINGER_MS = 30_000;

/** See above. */
export class WorkerHolder implements Holder {
  readonly isElsewhere = true;
  readonly worker: number;
  readonly store: Holder["store"];
  /** Where the owner wants it to listen. */
  place = { port: 0, riocPort: undefined as number | undefined, reusePort: false };
  private readonly pipe: Pipe;
  private readonly line: Line;
  private readonly ask: Ask;
  private readonly tunnels: WorkerTunnels;
  private readonly notes = new Map<string, PatchNotes>();
  private readonly questions = new Map<number, (value: Answers[keyof Answers]) => void>();
  private questionNext = 1;
  private limits: SharedLimits | undefined;
  private own: Told | undefined;
  private parts: HolderParts | undefined;

  /** `owner` is the session's name there, `worker` which one this is. */
  constructor(pipe: Pipe, owner: string, worker: number) {
    this.worker = worker;
    this.pipe = pipe;
    this.tunnels = new WorkerTunnels(
      (...parts) => pipe.send(KIND.tunnel, ...parts),
      () => pipe.isFull,
    );
    const conversation = new Conversation("the process that holds the store ended");
    this.line = { conversation, close: () => Promise.resolve() };
    conversation.attach({ type: "owner", owner, recoveredVersion: 0 }, (message) => {
      const { frames, refused } = framesOf(message, FRAME_SIZE_MAX);
      for (const frame of frames) pipe.send(KIND.calls, frame);
      const failures = refused.map(
        ({ id, call, cause }): [number, { code: "INVALID_ARGUMENT"; operation: string; message: string }] => [
          id,
          { code: "INVALID_ARGUMENT", operation: call, message: `${call}: ${(cause as Error).message}` },
        ],
      );
      if (failures.length > 0) {
        conversation.answer({ type: "answers", owner, ids: [], values: [], failures, durableVersion: 0 });
      }
    });
    this.ask = askOver(this.line);
    const whole = connectionTo(this.line, "", "binary", "binary");
    this.store = {
      stats: () => whole.stats(),
      backup: (options) => whole.backup(options),
      segments: (first, count) => this.ask([SERVE.segments, first, count]) as Promise<SegmentUse[]>,
    };
  }

  /** A frame of the owner's that is no message for the process. */
  frame(kind: number, bytes: Buffer): void {
    const { conversation } = this.line;
    if (kind === KIND.tunnel) this.tunnels.frame(bytes);
    else {
      const frame = readServerFrame(bytes, conversation.ownerNow ?? "");
      if (frame.type === "answers") conversation.answer(frame);
    }
  }

  /** The owner has read what waited for it. */
  drained(): void {
    this.tunnels.drained();
  }

  /** A message of the owner's. */
  hear(message: Extract<ToWorker, { type: "limits" | "tell" | "answer" | "patched" }>): void {
    switch (message.type) {
      case "limits":
        this.limits?.hear(message.news);
        return;
      case "answer":
        this.questions.get(message.id)?.(message.value);
        this.questions.delete(message.id);
        return;
      case "tell":
        void this.tell(message.id, message.question);
        return;
      case "patched":
        this.notesOf(message.namespace).add(message.version, message.key, message.shown);
        return;
    }
  }

  hold(parts: HolderParts): Held {
    this.parts = parts;
    const { line, ask } = this;
    const limits = new SharedLimits(parts.limiter, (news: LimitNews) => this.say({ type: "limits", news }));
    this.limits = limits;
    parts.slow.onKept = (operation) => this.say({ type: "slow", operation });
    const known = new Map<string, WorkerOperations>();
    const feed = new Feed({
      bytesOf: (tenant) => {
        const records = connectionTo(line, parts.namespaceOf(tenant), "binary", "binary");
        return {
          version: undefined,
          watch: (what, options) => records.watch(what, options),
        };
      },
      versionNow: () => ask([SERVE.version]) as Promise<number>,
      lingerMs: LINGER_MS,
      patched: (tenant, version, key) => this.notesOf(parts.namespaceOf(tenant)).find(version, key),
    });
    return {
      operationsOf(tenant) {
        const namespace = parts.namespaceOf(tenant);
        let operations = known.get(namespace);
        if (operations === undefined) {
          operations = new WorkerOperations(line, namespace, known.size);
          known.set(namespace, operations);
        }
        return operations;
      },
      feed,
      limits,
      snapshots: new OwnerSnapshots(line, ask),
      remote: () => this.tunnels.handler,
      told: (own) => {
        this.own = own;
        return {
          families: () => this.question({ what: "families" }),
          slow: { thresholdMs: own.slow.thresholdMs, list: () => this.question({ what: "slow" }) },
          activity: { list: (count) => this.question({ what: "activity", count }) },
        };
      },
      end: () => limits.close(),
    };
  }

  ports(): { port: number; riocPort: number | undefined; reusePort: boolean } {
    return this.place;
  }

  connectionLimits(given: ServerLimits): ServerLimits {
    const { limits } = this;
    return {
      ...given,
      get connections() {
        return given.connections - (limits?.webElsewhere ?? 0);
      },
    };
  }

  /** Connections at the port of HTTP are counted by what listens. */
  listening(connections: () => number): void {
    if (this.limits !== undefined) this.limits.webHere = connections;
  }

  say(message: ToOwner): void {
    this.pipe.control(message);
  }

  private question<Q extends Question>(question: Q): Promise<Answers[Q["what"]]> {
    const id = this.questionNext++;
    return new Promise((resolve) => {
      this.questions.set(id, resolve as (value: Answers[keyof Answers]) => void);
      this.say({ type: "ask", id, question });
    });
  }

  /** Tells what this process knows of itself. */
  private async tell(id: number, question: Question): Promise<void> {
    if (question.what === "families") this.say({ type: "telling", id, families: (await this.own?.families()) ?? [] });
    else if (question.what === "activity") {
      this.say({ type: "telling", id, seconds: this.parts?.activity.raw(question.count) ?? [] });
    }
  }

  private notesOf(namespace: string): PatchNotes {
    let notes = this.notes.get(namespace);
    if (notes === undefined) {
      notes = new PatchNotes();
      this.notes.set(namespace, notes);
    }
    return notes;
  }
}

/** REST's snapshots, which the owner keeps. */
class OwnerSnapshots implements SnapshotKeeper {
  private readonly face: ReturnType<typeof connectionTo<"binary", "binary">>["face"];
  private readonly ask: Ask;

  constructor(line: Line, ask: Ask) {
    this.face = connectionTo(line, "", "binary", "binary").face;
    this.ask = ask;
  }

  take(tenant: string): Promise<{ id: string; version: number }> {
    return this.ask([SERVE.takeSnapshot, tenant]) as Promise<{ id: string; version: number }>;
  }

  async use<T>(id: string, tenant: string, read: (view: View) => Promise<T>): Promise<T> {
    const view = await this.hold(id, tenant);
    try {
      return await read(view);
    } finally {
      this.letGo(id, view);
    }
  }

  async hold(id: string, tenant: string): Promise<View> {
    const held = (await this.ask([SERVE.holdSnapshot, id, tenant])) as WireView & { version: number };
    return ConnectionSnapshot.over(this.face, held) as unknown as View;
  }

  letGo(_id: string, view: View): void {
    view.close();
  }

  remove(id: string, tenant: string): Promise<boolean> {
    return this.ask([SERVE.removeSnapshot, id, tenant]) as Promise<boolean>;
  }
}
