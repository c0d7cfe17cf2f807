/**
 * Prints the sizes of pages, and fetches only those that the cache does not hold.
 *
 *   node examples/cache/main.ts pages.cairn URL...      FRESH_MS (60000), MAX_BYTES (10000000)
 */
import process from "node:process";
import { CachedFetch } from "./cached-fetch.ts";

const [path = "pages.cairn", ...urls] = process.argv.slice(2);
const { FRESH_MS = "60000", MAX_BYTES = "10000000" } = process.env;
const pages = await CachedFetch.open(path, { freshMs: Number(FRESH_MS), maxBytes: Number(MAX_BYTES) });

const found = await Promise.allSettled(urls.map((url) => pages.text(url)));
for (const [index, result] of found.entries()) {
  const said = result.status === "fulfilled" ? `${result.value.length} characters` : `failed: ${result.reason.message}`;
  console.log(`${urls[index]} ${said}`);
}
const { hits, misses, count } = pages.stats();
console.log(`${hits} from the cache, ${misses} not, ${count} kept`);
await pages.close();
