/**
 * What a runtime decides in its own time is decided here, so that a seed does the same whenever and wherever it runs. Imported
 * before the store, whose registries are made when its modules are.
 *
 * - Nothing depends on when garbage is collected: what a program drops without closing it stays open for as long as its store
 *   lives. `test/store` tests what the registries do.
 * - Digests are made at once, and not by a thread that is ready when it likes.
 */
import { createHash } from "node:crypto";

class NeverCalled {
  register(): void {}

  unregister(): boolean {
    return false;
  }
}

class StrongRef<T> {
  private readonly value: T;

  constructor(value: T) {
    this.value = value;
  }

  deref(): T {
    return this.value;
  }
}

Object.assign(globalThis, { FinalizationRegistry: NeverCalled, WeakRef: StrongRef });
Object.defineProperty(crypto.subtle, "digest", {
  value: async (_: "SHA-256", bytes: Uint8Array) => new Uint8Array(createHash("sha256").update(bytes).digest()).buffer,
});

/** Throws unless registries that are made are none. To be called, or bundlers leave this module out. */
export function expectDetermined(): void {
  const registry: unknown = new FinalizationRegistry(() => undefined);
  if (!(registry instanceof NeverCalled)) throw new Error("what is collected would be told to the store");
}
