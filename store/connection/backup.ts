/**
 * A backup over a connection: the owner of the store makes it, and the page asks for its parts as its reader takes them.
 *
 * It ends with its owner: another one has not pinned what is still to be read.
 */
import { type BackupOptions, type BackupStream, checkBackupOptions } from "../backup/stream.ts";
import { CairnError } from "../error.ts";
import type { Conversation } from "./conversation.ts";
import type { WireBackup } from "./wire.ts";

/** A backup that an owner makes. It must not hold the stream. */
interface Held extends WireBackup {
  conversation: Conversation;
  isOver: boolean;
}

const dropped = new FinalizationRegistry<Held>(end);

/** See `Connection.backup`. */
export function backupOver(conversation: Conversation, options: BackupOptions = {}): BackupStream {
  checkBackupOptions(options);
  const { since, signal } = options;
  const begun = begin(conversation, since, signal);
  const version = begun.then((held) => held.version);
  version.catch(() => undefined);
  const stop = async (): Promise<void> => {
    signal?.removeEventListener("abort", abort);
    const held = await begun.catch(() => undefined);
    if (held === undefined) return;
    dropped.unregister(held);
    end(held);
  };
  // A signal lives on, and the stream must not with it.
  let control: WeakRef<ReadableStreamDefaultController> | undefined;
  const abort = (): void => {
    control?.deref()?.error(signal?.reason);
    void stop();
  };
  const stream = new ReadableStream<Uint8Array>(
    {
      async start(controller) {
        control = new WeakRef(controller);
        signal?.addEventListener("abort", abort);
        try {
          await begun;
        } catch (error) {
          await stop();
          throw error;
        }
      },
      async pull(controller) {
        try {
          const part = await partOf(await begun);
          if (signal?.aborted === true) return;
          if (part !== undefined) {
            controller.enqueue(part);
            return;
          }
          await stop();
          controller.close();
        } catch (error) {
          await stop();
          // What an abort has ended has its reason already.
          if (signal?.aborted !== true) throw error;
        }
      },
      cancel: stop,
    },
    { highWaterMark: 1 },
  );
  endWhenDropped(stream, begun);
  return Object.assign(stream, { version });
}

async function begin(
  conversation: Conversation,
  since: number | undefined,
  signal: AbortSignal | undefined,
): Promise<Held> {
  signal?.throwIfAborted();
  const begun = (await conversation.ask("backup", [since])) as WireBackup;
  const held = { ...begun, conversation, isOver: false };
  if (signal?.aborted !== true) return held;
  end(held);
  throw signal.reason;
}

/** The next bytes, or `undefined` at the end. */
async function partOf(held: Held): Promise<Uint8Array | undefined> {
  const { conversation, backup, owner } = held;
  if (conversation.ownerNow !== owner && !conversation.isOver) throw ownerGone(conversation.loss);
  try {
    const part = (await conversation.ask("backupPart", [backup])) as Uint8Array | undefined;
    // The owner has let go of it.
    if (part === undefined) held.isOver = true;
    return part;
  } catch (error) {
    const { code } = error as CairnError;
    // A store that its owner closes says so in its own words.
    if (!conversation.isOver && (code === "SNAPSHOT_EXPIRED" || code === "CLOSED")) throw ownerGone(conversation.loss);
    throw error;
  }
}

/** Apart from what makes the stream: what a function keeps is kept for all that it made. */
function endWhenDropped(stream: ReadableStream<Uint8Array>, begun: Promise<Held>): void {
  begun.then(
    (held) => dropped.register(stream, held, held),
    () => undefined,
  );
}

/** Has the owner let go of what the backup pins. Where it has ended, that has gone with it. */
function end(held: Held): void {
  if (held.isOver) return;
  held.isOver = true;
  if (held.conversation.ownerNow !== held.owner) return;
  held.conversation.ask("backupEnd", [held.backup]).catch(() => undefined);
}

function ownerGone(loss: string): CairnError {
  const message = `backup: ${loss} before the backup had ended. What was read of it is no backup; begin a new one.`;
  return new CairnError("SNAPSHOT_EXPIRED", "backup", message);
}
