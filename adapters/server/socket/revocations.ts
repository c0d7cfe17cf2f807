/** Whoever ends when a key is revoked: one listener for each key, since leaving a signal with many listeners takes as long as they are many. */

/** Calls by the signal that they wait for. */
export class Revocations {
  private readonly calls = new WeakMap<AbortSignal, Set<() => void>>();

  /** `onRevoked` is called once, when `revoked` aborts; at once when it has. What this returns takes that back. */
  add(revoked: AbortSignal, onRevoked: () => void): () => void {
    if (revoked.aborted) queueMicrotask(onRevoked);
    let calls = this.calls.get(revoked);
    if (calls === undefined) {
      const made = new Set<() => void>();
      calls = made;
      this.calls.set(revoked, made);
      const onAbort = (): void => {
        for (const call of [...made]) call();
      };
      revoked.addEventListener("abort", onAbort, { once: true });
    }
    calls.add(onRevoked);
    return () => calls.delete(onRevoked);
  }
}
