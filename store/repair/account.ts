/**
 * Which lives stand: what the newest note that survived counts, and the log behind it.
 *
 * A note counts segments; it is believed when its group is durable, which a later group's end, or a superblock, says. Lives
 * that were begun after it belong to the log as far as their groups are durable, and behind that as far as groups are
 * complete, as in any opening. All else is apart: it was freed, or its write was never finished.
 *
 * Where something of that is missing, what is missing has a bound: no record in it can be newer than a certain sequence
 * (`bound`). The highest of the bounds is the horizon. A record that is known to be the newest of its key at a sequence
 * above the horizon is proven; below it, a missing block may hold a later write of that key, or its deletion.
 */
import type { Geometry } from "./geometry.ts";
import { FIRST_BLOCK, FLAG_GROUP_END, FLAG_SEGMENT_END, type SalvageImage } from "./image.ts";
import {
  LIFE_COPIES,
  LIFE_LOG,
  type Life,
  type Note,
  type NoteReference,
  noteCounts,
  readNote,
  type Survey,
} from "./lives.ts";

/** Something that counted and is not there. */
export interface Gap {
  /** `blocks` of the log or of copies; the `header` of a segment with its note; a whole `segment`; the log's `end`. */
  kind: "blocks" | "header" | "segment" | "end";
  segment?: number;
  /** First block in the segment, and how many. */
  block?: number;
  count?: number;
  life?: Life;
  /** No record that it held has a higher sequence. */
  bound: number;
}

/** What stands. */
export interface Account {
  /** The newest note that survived and is durable. */
  note: Note | undefined;
  /** The newest group that something vouches for. */
  mark: bigint;
  gaps: Gap[];
}

/** Decides what each life is worth, and sets that in it. Reads the segments at the log's end once more. */
export async function takeAccount(image: SalvageImage, survey: Survey, geometry: Geometry): Promise<Account> {
  const { superblock } = geometry;
  const mark = max(survey.mark, superblock?.durableGroup ?? 0n);
  const note = newestNote(image, survey.notes, mark);
  const gaps: Gap[] = [];
  if (note !== undefined) markCounted(survey, note, gaps);
  const log = markLater(survey, note);
  for (const life of survey.lives) if (life.standing !== "apart") life.limit = image.segmentBlocks;
  const walk = note === undefined ? log : [note.life, ...log.filter((life) => life !== note.life)];
  for (const life of walk) life.limit = 0;
  const epochs = {
    from: max(superblock?.logEpoch ?? 0n, mark >> 40n),
    only: geometry.superblocksIntact === 4,
  };
  const isReached = await walkEnd(image, walk, mark, epochs);
  if (note === undefined && mark > 0n) {
    // Each segment of the log holds a note, and those of durable groups are all lost, with what was written to them.
    const [first] = walk;
    gaps.push({ kind: "segment", bound: first?.hasHeader === true ? first.born + 1 : Number.POSITIVE_INFINITY });
  }
  if (!isReached) gaps.push({ kind: "end", bound: Number.POSITIVE_INFINITY });
  return { note, mark, gaps };
}

function newestNote(image: SalvageImage, references: readonly NoteReference[], mark: bigint): Note | undefined {
  const durable = references.filter(({ group }) => group <= mark);
  // A note that does not say its serial at once is read for it.
  const split = durable.filter(({ serial }) => serial < 0n).map((reference) => readNote(image, reference));
  let best = split.reduce<Note | undefined>(
    (newest, note) => (note !== undefined && note.serial > (newest?.serial ?? -1n) ? note : newest),
    undefined,
  );
  const sorted = durable.filter(({ serial }) => serial >= 0n).sort((a, b) => (a.serial < b.serial ? 1 : -1));
  for (const reference of sorted) {
    if (best !== undefined && best.serial > reference.serial) break;
    const note = readNote(image, reference);
    if (note === undefined) continue;
    best = note;
    break;
  }
  return best;
}

/** Finds the life that a note means in each segment that it counts. */
function markCounted(survey: Survey, note: Note, gaps: Gap[]): void {
  const found: Life[] = [];
  const doubtful: { segment: number; life: Life | undefined }[] = [];
  let sum = 0n;
  let reused = false;
  const counted: { segment: number; life: Life | undefined }[] = [];
  for (let segment = 0; segment < note.segmentCount; segment++) {
    if (!noteCounts(note, segment)) continue;
    const life = survey.bySegment.get(segment)?.[0];
    const isBefore = life === undefined || life.groupFirst <= note.group || life === note.life;
    if (!isBefore) {
      // A newer note, which is lost, had freed it.
      reused = true;
      const bound = life.hasHeader ? life.born + 1 : Number.POSITIVE_INFINITY;
      gaps.push({ kind: "header", segment, life, bound });
      continue;
    }
    sum += life?.generation ?? 0n;
    counted.push({ segment, life });
  }
  const allFit = !reused && BigInt.asUintN(64, sum) === note.generationSum;
  for (const { segment, life } of counted) {
    // Where the sum differs, what has no header may be a former life, of which blocks are left behind one that is lost.
    if (life !== undefined && (allFit || life.hasHeader || life === note.life)) found.push(life);
    else doubtful.push({ segment, life });
  }
  const rest = found.reduce((total, { generation }) => total + generation, 0n);
  const expected = BigInt.asUintN(64, note.generationSum - rest);
  const isOne = !reused && doubtful.length === 1;
  for (const { segment } of doubtful) {
    const life = isOne ? survey.bySegment.get(segment)?.find(({ generation }) => generation === expected) : undefined;
    if (life === undefined) gaps.push({ kind: "segment", segment, bound: note.sequence });
    else found.push(life);
  }
  // All have headers, and one of them is that of a former life: nobody knows which.
  if (!allFit && !reused && doubtful.length === 0) gaps.push({ kind: "segment", bound: note.sequence });
  for (const life of found) life.standing = "counted";
}

/** Marks what was begun after the note: the lives of the log among it, in their order. */
function markLater(survey: Survey, note: Note | undefined): Life[] {
  const log: Life[] = [];
  for (const [newest] of survey.bySegment.values()) {
    if (newest === undefined || newest.standing === "counted") continue;
    const isLog = newest.kind === LIFE_LOG || (!newest.hasHeader && newest.endsGroups);
    if (note !== undefined && (newest.groupFirst < note.group || (isLog && newest.groupFirst === note.group))) continue;
    if (!isLog && newest.kind !== LIFE_COPIES) continue;
    newest.standing = "later";
    if (isLog) log.push(newest);
  }
  return log.sort((a, b) => (a.generation > b.generation ? 1 : -1));
}

/**
 * Walks the log from the note's life on and sets how much of each life stands: whether it gets to the mark. What is missing
 * before the mark is missing; behind it, it was never finished.
 */
async function walkEnd(
  image: SalvageImage,
  lives: readonly Life[],
  mark: bigint,
  epochs: { from: bigint; only: boolean },
): Promise<boolean> {
  let reached = mark === 0n;
  let group = 0n;
  let ended = true;
  let stopped = false;
  let last: Life | undefined;
  let pending: [Life, number][] = [];
  for (const life of lives) {
    if (reached && last !== undefined && (!life.hasHeader || life.previousGeneration !== last.generation))
      stopped = true;
    if (stopped) break;
    const start = FIRST_BLOCK + life.segment * image.segmentBlocks;
    let over = false;
    await image.each(start, Math.min(start + image.segmentBlocks, image.blockCount), (block) => {
      if (stopped || over) return;
      const within = block.block - start;
      if (block.look !== "sound" || block.generation !== life.generation) {
        stopped = reached;
        return;
      }
      if (block.group > mark) {
        const follows = ended ? block.group > group : block.group === group;
        const epoch = block.group >> 40n;
        if ((reached && !follows) || epoch < epochs.from || (epochs.only && epoch > epochs.from)) {
          stopped = true;
          return;
        }
        reached = true;
      }
      group = block.group;
      ended = (block.flags & FLAG_GROUP_END) !== 0;
      pending.push([life, within + 1]);
      if (group <= mark || ended) {
        for (const [one, limit] of pending) one.limit = limit;
        pending = [];
      }
      if (group === mark && ended) reached = true;
      over = (block.flags & FLAG_SEGMENT_END) !== 0;
    });
    last = life;
  }
  for (let i = lives.length - 1; i >= 0; i--) {
    const life = lives[i] as Life;
    if (life.limit === 0) {
      life.standing = "apart";
      continue;
    }
    // The end of the log is where its last life that stands ends; before that, what is not there is missing.
    life.isOpenEnd = reached;
    if (!reached) life.limit = image.segmentBlocks;
    for (const before of lives.slice(0, i)) before.limit = image.segmentBlocks;
    break;
  }
  return reached;
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
