/**
 * Notes that several people may write offline: an automerge document, kept in a Cairn store.
 *
 *   node examples/automerge/notes.ts notes.cairn "buy milk"      adds a note, and prints all of them
 *
 * The first run makes the document and says its address; later ones find it in the store.
 */
import { type AutomergeUrl, Repo } from "@automerge/automerge-repo";
import { CairnStorageAdapter } from "./storage.ts";

interface Notes {
  notes: string[];
}

const [path = "notes.cairn", note] = process.argv.slice(2);
const storage = await CairnStorageAdapter.open(path);
const repo = new Repo({ storage });

const saved = await storage.load(["notes-url"]);
const url = saved === undefined ? undefined : (new TextDecoder().decode(saved) as AutomergeUrl);
const handle = url === undefined ? repo.create<Notes>({ notes: [] }) : await repo.find<Notes>(url);
if (url === undefined) await storage.save(["notes-url"], new TextEncoder().encode(handle.url));

if (note !== undefined) handle.change((document) => document.notes.push(note));
for (const text of handle.doc().notes) console.log(text);

await repo.flush();
await repo.shutdown();
await storage.close();
