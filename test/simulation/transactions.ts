/**
 * Transactions: done whole or not at all, and refused exactly when something that they read was written meanwhile.
 *
 * One that awaits is begun by `begin` and goes on with `end`: what runs in between may write what it has read.
 */
import { CairnError } from "../../store/error.ts";
import type { Transaction } from "../../store/transaction.ts";
import { drain, START_MS } from "./clock.ts";
import { type Encoded, encoded, expectValue, newBatch, pickKey, writeSync } from "./drawing.ts";
import type { Random } from "./random.ts";
import type { Session } from "./session.ts";
import type { Commit } from "./timeline.ts";
import { Violation } from "./violation.ts";

const THROW_SHARE = 0.2;

/** A transaction that waits for `end`. */
export interface OpenTransaction {
  reads: ReadonlySet<string>;
  commit: Commit;
  /** Commits that there were when it began. */
  began: number;
  /** Whether a key that it read expires, or has expired: then it may be refused without a write. */
  mayExpire: boolean;
  goOn(): void;
  outcome: Promise<"done" | "conflict" | undefined>;
}

type AnyTransaction = Transaction<Encoded, Encoded>;

class GivenUp extends Error {}

export const TRANSACTION_OPERATIONS = {
  transaction(session: Session, random: Random): void {
    const { commit } = newBatch(session, random);
    const reads = Array.from({ length: random.below(4) }, () => pickKey(session, random));
    const givesUp = random.chance(THROW_SHARE);
    const body = (tx: AnyTransaction): void => {
      for (const key of reads) expectValue(key, session.model.get(key), tx.get(encoded(session, key)));
      writeIn(session, tx, commit);
      if (givesUp) throw new GivenUp();
      for (const key of commit.keys()) expectValue(key, commit.get(key), tx.get(encoded(session, key)));
    };
    session.coverage.transactions++;
    if (!givesUp) {
      writeSync(session, commit, () => session.store.transaction(body));
      return;
    }
    const { version } = session.store;
    try {
      session.store.transaction(body);
    } catch (error) {
      if (!(error instanceof GivenUp)) session.refused(error);
    }
    if (session.store.version !== version) throw new Violation("a transaction that was given up was done");
  },

  begin(session: Session, random: Random): void {
    if (session.transaction !== undefined) return;
    const { commit } = newBatch(session, random);
    const reads = new Set(Array.from({ length: random.between(1, 4) }, () => pickKey(session, random)));
    const looked = new Set(reads);
    const { era } = session;
    const state = new Map(session.model);
    let goOn = (): void => undefined;
    const gate = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    const promise = session.store.transact(
      async (tx) => {
        for (const key of reads) expectValue(key, state.get(key), tx.get(encoded(session, key)));
        await gate;
        writeIn(session, tx, commit);
      },
      { retries: 0 },
    );
    const outcome = promise.then(
      () => "done" as const,
      (error) => {
        if (error instanceof CairnError && error.code === "CONFLICT") return "conflict" as const;
        if (era === session.era) session.refusedLater(error);
        return undefined;
      },
    );
    // A deletion says whether the key was there: it reads it.
    for (const [key, value] of commit) if (value === undefined) looked.add(key);
    // Taking away what expired before counts as a write, whenever the store comes to it.
    const expires = (key: string): boolean =>
      session.timeline.valuesOf(key, 0, session.issued).some((value) => value?.expiresAt !== undefined);
    const mayExpire = [...looked].some(expires);
    session.transaction = { reads: looked, commit, began: session.issued, mayExpire, goOn, outcome };
  },

  /** Lets the open transaction go on to its end, with nothing else in between. */
  async end(session: Session): Promise<void> {
    const { transaction } = session;
    if (transaction === undefined) return;
    session.transaction = undefined;
    const { reads, commit, began, mayExpire, goOn, outcome } = transaction;
    const { timeline } = session;
    const isStale = timeline.touches(reads, began, true);
    // A key that was absent then and is absent now may count as written, when it was there in between.
    const mayBeStale = mayExpire || timeline.touches(reads, began, false);
    session.coverage.transactions++;
    let settled: "done" | "conflict" | undefined;
    const before = session.store.version;
    const number = session.announce(commit);
    const watched = outcome.then((how) => {
      settled = how;
    });
    goOn();
    await drain();
    // Taking away what has expired moves the version, too; what a refused transaction did then, the next reads show.
    const isSwept = settled === "conflict" && session.highestMs > START_MS;
    const isDone = session.settleCommit(commit, !isSwept && session.store.version !== before);
    if (settled === "conflict" && isDone) throw new Violation("a transaction that was refused was done");
    if (isDone && isStale) throw new Violation("a transaction was done though what it had read was written");
    if (settled === "conflict") {
      if (!mayBeStale) throw new Violation("a transaction was refused though nothing that it had read was written");
      session.coverage.conflicts++;
      return;
    }
    session.expect(watched, () => {
      if (isDone && settled === "done") session.acknowledge(number);
    });
  },
};

function writeIn(session: Session, tx: AnyTransaction, commit: Commit): void {
  for (const [key, value] of commit) {
    if (value === undefined) tx.delete(encoded(session, key));
    else tx.set(encoded(session, key), value.data);
  }
}
