/** Full text: documents by the beginnings of their words, as somebody types. */
import { open, type Store, type Tuple } from "cairn-kv";

/** A document that was found. */
export interface Hit {
  id: string;
  title: string;
  /** How often the words that were found stand in it. */
  score: number;
}

interface Document {
  title: string;
  words: Record<string, number>;
}

/** Above every character that a word can have: the end of the words that begin with something. */
const BEHIND_ALL = "\u{10ffff}";
const WORD_LENGTH_MAX = 64;

/**
 * `["document", id]` says which words a document has, `["word", word, id]` how often one stands in it. All words with a
 * beginning are one range, and so is one word.
 */
export class SearchIndex {
  private readonly store: Store<Tuple, unknown>;

  private constructor(store: Store<Tuple, unknown>) {
    this.store = store;
  }

  static async open(path: string): Promise<SearchIndex> {
    return new SearchIndex(await open(path, { keyEncoding: "tuple", valueEncoding: "json" }));
  }

  /** Adds a document, or replaces it: a reader sees all of its words or none. Those of the title count in addition. */
  add(id: string, title: string, text: string): void {
    const words = countsOf(`${title} ${text}`);
    this.store.transaction((tx) => {
      const former = tx.get(["document", id]) as Document | undefined;
      for (const word of Object.keys(former?.words ?? {})) if (!(word in words)) tx.delete(["word", word, id]);
      for (const [word, count] of Object.entries(words)) tx.set(["word", word, id], count);
      tx.set(["document", id], { title, words } satisfies Document);
    });
  }

  /** Removes a document: whether it was there. */
  remove(id: string): boolean {
    return this.store.transaction((tx) => {
      const former = tx.get(["document", id]) as Document | undefined;
      if (former === undefined) return false;
      for (const word of Object.keys(former.words)) tx.delete(["word", word, id]);
      return tx.delete(["document", id]);
    });
  }

  /** Words that begin with something, in their order. */
  complete(beginning: string, limit: number): string[] {
    const [start = ""] = wordsOf(beginning);
    const words: string[] = [];
    const walk = this.store.keys({ gte: ["word", start], lt: ["word", start + BEHIND_ALL] });
    for (const key of walk) {
      const word = key[1] as string;
      words.push(word);
      if (words.length === limit) break;
      // The next word, past the other documents that have this one.
      walk.seek(["word", `${word}\0`]);
    }
    return words;
  }

  /** Documents in which every word of the query stands, the last word of it as a beginning; the best ones first. */
  search(query: string, limit: number): Hit[] {
    const words = wordsOf(query);
    const last = words.pop();
    if (last === undefined) return [];
    const ranges = words.map((word) => ({ prefix: ["word", word] }));
    let scores: Map<string, number> | undefined;
    for (const range of [...ranges, { gte: ["word", last], lt: ["word", last + BEHIND_ALL] }]) {
      const found = new Map<string, number>();
      for (const [key, count] of this.store.entries(range)) {
        const id = key[2] as string;
        if (scores !== undefined && !scores.has(id)) continue;
        found.set(id, (found.get(id) ?? scores?.get(id) ?? 0) + (count as number));
      }
      scores = found;
    }
    const hits = Array.from(scores ?? [], ([id, score]) => {
      return { id, score, title: (this.store.get(["document", id]) as Document).title };
    });
    return hits.sort((a, b) => b.score - a.score || (a.id < b.id ? -1 : 1)).slice(0, limit);
  }

  /** Closes the store, with everything durable. */
  close(): Promise<void> {
    return this.store.close();
  }
}

/** Letters and digits, in small letters without accents; very long words are cut, since a key has 2,048 bytes at most. */
function wordsOf(text: string): string[] {
  const plain = text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
  return (plain.match(/[\p{L}\p{N}]+/gu) ?? []).map((word) => word.slice(0, WORD_LENGTH_MAX));
}

/** How often each word stands in a text. */
function countsOf(text: string): Record<string, number> {
  const counts: Record<string, number> = Object.create(null);
  for (const word of wordsOf(text)) counts[word] = (counts[word] ?? 0) + 1;
  return counts;
}
