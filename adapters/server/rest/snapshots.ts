/** Snapshots that clients hold by an id: views of the store that close when nobody has read through them for a while. */
import { Buffer } from "node:buffer";
import { ServerFailure } from "../failure.ts";
import type { View } from "../tenants.ts";
import { jsonAnswer } from "./answers.ts";
import type { Call } from "./call.ts";
import type { RestContext, RestSettings } from "./context.ts";

interface Held {
  tenant: string;
  view: View;
  /** Reads that are under way. */
  users: number;
  usedAt: number;
  timer: ReturnType<typeof setTimeout>;
}

/** Keeps snapshots by their ids, wherever they are. */
export interface SnapshotKeeper {
  /** Keeps a view for a tenant. 429, and the view is closed, where the tenant has too many. */
  take(tenant: string, taken: () => View | Promise<View>): Promise<{ id: string; version: number }>;
  /** Reads through a snapshot. 410 where the tenant has none of this id. */
  use<T>(id: string, tenant: string, read: (view: View) => Promise<T>): Promise<T>;
  /** A snapshot that stays until `letGo`. 410 where the tenant has none of this id. */
  hold(id: string, tenant: string): View | Promise<View>;
  /** What `hold` gave is not read any more. */
  letGo(id: string, view: View): void;
  /** Whether the tenant had it. */
  remove(id: string, tenant: string): boolean | Promise<boolean>;
}

/** The snapshots of one store. */
export class Snapshots implements SnapshotKeeper {
  private readonly settings: RestSettings;
  private readonly held = new Map<string, Held>();

  constructor(context: Pick<RestContext, "closing">, settings: RestSettings) {
    this.settings = settings;
    context.closing.addEventListener("abort", () => this.closeAll(), { once: true });
  }

  async take(tenant: string, taken: () => View | Promise<View>): Promise<{ id: string; version: number }> {
    const view = await taken();
    return { id: this.add(tenant, view), version: view.version };
  }

  private add(tenant: string, view: View): string {
    let count = 0;
    for (const held of this.held.values()) if (held.tenant === tenant) count++;
    if (count >= this.settings.snapshotsMax) {
      void view.close();
      throw new ServerFailure(429, `The tenant has ${count} snapshots open. Delete one.`, 1);
    }
    const id = Buffer.from(crypto.getRandomValues(new Uint8Array(16))).toString("hex");
    const held: Held = {
      tenant,
      view,
      users: 0,
      usedAt: performance.now(),
      timer: this.timerOf(id, this.settings.snapshotIdleMs),
    };
    this.held.set(id, held);
    return id;
  }

  async use<T>(id: string, tenant: string, read: (view: View) => Promise<T>): Promise<T> {
    const view = this.hold(id, tenant);
    try {
      return await read(view);
    } finally {
      this.letGo(id);
    }
  }

  hold(id: string, tenant: string): View {
    const held = this.held.get(id);
    if (held?.tenant !== tenant) {
      throw new ServerFailure(
        410,
        "There is no such snapshot: it was deleted, or not read for too long. Take a new one.",
      );
    }
    held.users++;
    return held.view;
  }

  letGo(id: string): void {
    const held = this.held.get(id);
    if (held === undefined) return;
    held.users--;
    held.usedAt = performance.now();
  }

  remove(id: string, tenant: string): boolean {
    const held = this.held.get(id);
    if (held?.tenant !== tenant) return false;
    this.close(id, held);
    return true;
  }

  private closeAll(): void {
    for (const [id, held] of this.held) this.close(id, held);
  }

  private close(id: string, { view, timer }: Held): void {
    clearTimeout(timer);
    this.held.delete(id);
    void view.close();
  }

  private timerOf(id: string, ms: number): ReturnType<typeof setTimeout> {
    const timer = setTimeout(() => {
      const held = this.held.get(id);
      if (held === undefined) return;
      const { snapshotIdleMs } = this.settings;
      const left = held.users > 0 ? snapshotIdleMs : snapshotIdleMs - (performance.now() - held.usedAt);
      if (left <= 0) this.close(id, held);
      else held.timer = this.timerOf(id, left);
    }, ms);
    (timer as { unref?(): void }).unref?.();
    return timer;
  }
}

/** `POST /snapshots` */
export async function postSnapshot(call: Call): Promise<Response> {
  if (call.isToken) call.deny("admin", undefined, "snapshot");
  const { snapshots, settings } = call.rest;
  const { operations, principal } = call;
  const { id, version } = await snapshots.take(principal.tenant, () => operations.snapshot());
  return jsonAnswer(201, `{"id":"${id}","version":${version},"idleMs":${settings.snapshotIdleMs}}`);
}

/** `DELETE /snapshots/{id}` */
export async function deleteSnapshot(call: Call): Promise<Response> {
  if (!(await call.rest.snapshots.remove(call.id, call.principal.tenant))) {
    throw new ServerFailure(404, "There is no such snapshot.");
  }
  return jsonAnswer(200, '{"success":true,"message":"Snapshot deleted"}');
}
