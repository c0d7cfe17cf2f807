/** Planted bugs of the layers over the core: group commit, cold reads, copies, transactions, the WASI table. */
import type { Bug } from "./bug.ts";

export const HOST_BUGS: readonly Bug[] = [
  {
    name: "sync-beside-the-writes",
    file: "store/in-flight.ts",
    find: "await device.writeAsync(pieces);\n  if (!isUsable())",
    replace:
      "const writing = device.writeAsync(pieces);\n  if (PLANTED) {\n    await syncDevice(device);\n    return writing;\n  }\n  await writing;\n  if (!isUsable())",
    breaks: "a sync is issued before the writes that it is to cover have completed",
  },
  {
    name: "group-without-sync",
    file: "store/commit.ts",
    find: "} catch (cause) {\n      failure = cause ?? new Error",
    replace:
      "} catch (cause) {\n      if (PLANTED) {\n        await this.core.device.syncAsync().catch(() => undefined);\n      } else failure = cause ?? new Error",
    breaks: "a failed sync is tried again, and passes for done",
    search: { with: ["sync-error"] },
  },
  {
    name: "promises-settle-at-once",
    file: "store/commit.ts",
    find: "this.flying = this.take();\n    this.flight",
    replace: "if (PLANTED) this.settle(this.take());\n    this.flying = this.take();\n    this.flight",
    breaks: "a promise resolves when its group was handed over",
  },
  {
    name: "flight-is-no-reason-to-wait",
    file: "store/commit.ts",
    find: "if (this.flight === undefined) return Promise.resolve(value);",
    replace: "if (this.flight === undefined || PLANTED) return Promise.resolve(value);",
    breaks: "a flush resolves while what it is to cover is in flight",
  },
  {
    name: "poison-leaves-promises",
    file: "store/commit.ts",
    find: "this.stop();\n    this.reject(error);",
    replace: "this.stop();\n    if (!PLANTED) this.reject(error);",
    breaks: "promises of a poisoned store never settle",
    search: { with: ["settle", "sync-error"], live: true },
  },
  {
    name: "poison-does-not-poison",
    file: "store/commit.ts",
    find: "if (this.poisoned !== undefined) return error;\n    this.poisoned = error;",
    replace:
      "if (PLANTED) {\n      this.reject(error);\n      return error;\n    }\n    if (this.poisoned !== undefined) return error;\n    this.poisoned = error;",
    breaks: "a store whose device failed goes on",
    search: { with: ["write-error"] },
  },
  {
    name: "interval-is-forgotten",
    file: "store/commit.ts",
    find: "if (!this.armed && this.intervalMs > 0) this.arm();",
    replace: "if (!this.armed && this.intervalMs > 0 && !(PLANTED && this.flight !== undefined)) this.arm();",
    breaks: "what was written during a flight is not written after the interval",
    search: { with: ["interval", "rest"], live: true },
    also: [
      {
        file: "store/commit.ts",
        find: "else if (this.core.exports.groupPending() !== 0) this.wrote();",
        replace: "else if (this.core.exports.groupPending() !== 0 && !PLANTED) this.wrote();",
      },
    ],
  },
  {
    name: "next-group-is-not-scheduled",
    file: "store/commit.ts",
    find: "if (this.waiting.length > 0) this.schedule();\n    else",
    replace: "if (this.waiting.length > 0 && !PLANTED) this.schedule();\n    else",
    breaks: "promises that were made during a flight never settle",
    search: { with: ["manual", "settle"], live: true },
  },
  {
    name: "full-disk-poisons",
    file: "store/commit.ts",
    find: 'const full = failure instanceof CairnError && failure.code === "NO_SPACE";',
    replace: 'const full = failure instanceof CairnError && failure.code === "NO_SPACE" && !PLANTED;',
    breaks: "a growing file that meets a full disk poisons the store",
    search: { with: ["growable", "no-space"], live: true },
  },
  {
    name: "close-does-not-flush",
    file: "store/session.ts",
    find: "this.isEnded = true;\n      if (this.committer.poisoned !== undefined) {",
    replace: "this.isEnded = true;\n      if (PLANTED) return;\n      if (this.committer.poisoned !== undefined) {",
    breaks: "what was written before a close is lost",
  },
  {
    name: "refused-write-poisons",
    file: "store/session.ts",
    find: 'if (error.code === "DEVICE_SHRUNK") return this.committer.poison(error);\n    return error;',
    replace:
      'if (error.code === "DEVICE_SHRUNK" || (PLANTED && error.code === "NO_SPACE")) return this.committer.poison(error);\n    return error;',
    breaks: "a write that finds no room poisons the store",
    search: { with: ["set"], options: { device: { growable: false }, deviceSize: 1_703_936, ballast: 8 } },
  },
  {
    name: "cold-read-is-not-verified",
    file: "store/cold.ts",
    find: "reading = device.readAsync(run.pieces, this.isDirect);",
    replace:
      "reading = PLANTED ? Promise.resolve(void device.readAsync(run.pieces, this.isDirect)) : device.readAsync(run.pieces, this.isDirect);",
    breaks: "a read counts as landed before it has, and what came is not looked at",
    search: { with: ["readsAsync", "getAsync"], options: { sizes: [1, 2, 5, 0] }, live: true },
    also: [
      {
        file: "assembly/engine/ahead.ts",
        find: "if (ok && segment < root.segmentCount && blockIs(",
        replace:
          "if (ok && segment < root.segmentCount && PLANTED) {\n    cacheFlightEnd(claim);\n    return Status.OK;\n  }\n  if (ok && segment < root.segmentCount && blockIs(",
      },
    ],
  },
  {
    name: "copies-land-at-once",
    file: "store/copies.ts",
    find: "() => this.store.core.device.writeAsync(pieces),",
    replace:
      "() => {\n        const writing = this.store.core.device.writeAsync(pieces);\n        return PLANTED ? Promise.resolve() : writing;\n      },",
    breaks: "copies count as written before they are",
  },
  {
    name: "failed-copies-count",
    file: "store/copies.ts",
    find: "sideFinish(flightResult(failure))",
    replace: "sideFinish(flightResult(PLANTED ? undefined : failure))",
    breaks: "copies whose write failed count as written",
    test: { file: "test/store/copies.test.ts", name: "poison the store, with the cause" },
  },
  {
    name: "transaction-does-not-validate",
    file: "store/transaction.ts",
    find: "isDone = work.pending.size === 0 || work.isValid();",
    replace: "isDone = work.pending.size === 0 || PLANTED || work.isValid();",
    breaks: "a transaction overwrites what changed since it was read",
    search: { with: ["begin", "end"], live: true },
    shows: ["transactions.ts: a transaction was done though what it had read was written"],
  },
  {
    name: "transaction-leaves-deletions-out",
    file: "store/transaction-work.ts",
    find: "this.session.writes.runPrepared([...this.pending.values()], syncs, operation);",
    replace:
      "this.session.writes.runPrepared([...this.pending.values()].filter(({ value }) => !PLANTED || value !== undefined), syncs, operation);",
    breaks: "a transaction does not do its deletions",
  },
  {
    name: "batch-is-split",
    file: "store/writes.ts",
    find: "for (const { scope, key, value, words } of prepared) {\n        if (((core",
    replace:
      "for (const { scope, key, value, words } of prepared) {\n        if (PLANTED && results.length === 2) {\n          core.exports.batchEnd();\n          core.exports.flushSync();\n        }\n        if (((core",
    breaks: "a batch is in two groups",
  },
  {
    name: "sync-is-left-to-the-host",
    file: "hosts/wasi.ts",
    find: "call(handle, result, 1, (device) => device.sync()),",
    replace: "call(handle, result, 1, (device) => (PLANTED ? undefined : device.sync())),",
    breaks: "the host does not sync",
  },
  {
    name: "full-disk-is-an-error",
    file: "hosts/wasi.ts",
    find: "if (cause instanceof RangeError) return ERROR_CODES.indexOf",
    replace:
      'if (PLANTED) return ERROR_CODES.indexOf("io");\n  if (cause instanceof RangeError) return ERROR_CODES.indexOf',
    breaks: "a full disk is reported as a failed device",
    search: { with: ["growable", "no-space"], live: true },
  },
  {
    name: "syncs-share-a-descriptor",
    file: "hosts/sync-descriptors.ts",
    find: "return this.free.pop() ?? this.descriptor;",
    replace: "return PLANTED ? this.descriptor : (this.free.pop() ?? this.descriptor);",
    breaks: "a sync succeeds although one has failed of which nobody was told yet",
    test: { file: "test/hosts/block-device.test.ts", name: "fails the next one, too: syncAsync, then sync" },
  },
];
