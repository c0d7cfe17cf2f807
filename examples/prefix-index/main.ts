/**
 * Searches a folder of Markdown files.
 *
 *   node examples/prefix-index/main.ts add docs.cairn FOLDER
 *   node examples/prefix-index/main.ts search docs.cairn WORDS...      the last word may be a beginning
 *   node examples/prefix-index/main.ts complete docs.cairn BEGINNING
 */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { SearchIndex } from "./search-index.ts";

const [command, path = "docs.cairn", ...words] = process.argv.slice(2);
const index = await SearchIndex.open(path);

if (command === "add") {
  const [folder = "."] = words;
  let count = 0;
  for (const name of (await readdir(folder, { recursive: true })).filter((file) => file.endsWith(".md"))) {
    const text = await readFile(join(folder, name), "utf8");
    index.add(name, /^# (.*)$/m.exec(text)?.[1] ?? name, text);
    count += 1;
  }
  console.log(`indexed ${count} files`);
} else if (command === "search") {
  for (const { id, title, score } of index.search(words.join(" "), 10)) console.log(`${score} ${id} ${title}`);
} else if (command === "complete") {
  for (const word of index.complete(words.join(" "), 10)) console.log(word);
} else {
  console.error("use: add STORE FOLDER | search STORE WORDS... | complete STORE BEGINNING");
  process.exitCode = 2;
}
await index.close();
