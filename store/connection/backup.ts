/**
 * A backup over a connection: the owner of the store makes it, and the page asks for its parts as its reader takes them.
 *
 * It ends with its owner: another one has not pinned what is still to be read.
 */
import { pulledStream } from "../backup/pulled-stream.ts";
import { type BackupOptions, type BackupStream, checkBackupOptions } from "../backup/stream.ts";
import { CairnError } from "../error.ts";
import type { Conversation } from "./conversation.ts";
import type { WireBackup } from "./wire.ts";

/** A backup that an owner makes. */
interface Held extends WireBackup {
  conversation: Conversation;
  isOver: boolean;
}

/** See `Connection.backup`. */
export function backupOver(conversation: Conversation, options: BackupOptions = {}): BackupStream {
  checkBackupOptions(options);
  const { since, signal } = options;
  const held = begin(conversation, since, signal);
  const version = held.then(({ version }) => version);
  version.catch(() => undefined);
  const begun = held.then((held) => ({ next: () => partOf(held), end: () => end(held) }));
  return Object.assign(pulledStream(begun, signal), { version });
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
