/** The storage for automerge-repo: the tests that automerge-repo has for storage adapters, and a repo that is restarted. */
import { type AutomergeUrl, Repo } from "@automerge/automerge-repo";
import { runStorageAdapterTests } from "@automerge/automerge-repo/helpers/tests/storage-adapter-tests.js";
import { expect, test } from "vitest";
import { CairnStorageAdapter } from "../../examples/automerge/storage.ts";
import { scratchPaths } from "../store/harness.ts";

const newPath = scratchPaths();

runStorageAdapterTests(async () => {
  const adapter = await CairnStorageAdapter.open(newPath());
  return { adapter, teardown: () => void adapter.close() };
}, "Cairn");

test("a repo has its documents after a restart", async () => {
  const path = newPath();
  let url: AutomergeUrl | undefined;
  for (const round of [1, 2, 3]) {
    const storage = await CairnStorageAdapter.open(path);
    const repo = new Repo({ storage });
    const handle =
      url === undefined
        ? repo.create<{ rounds: number[] }>({ rounds: [] })
        : await repo.find<{ rounds: number[] }>(url);
    url = handle.url;
    handle.change((document) => document.rounds.push(round));
    await repo.flush();
    await repo.shutdown();
    await storage.close();
  }
  const storage = await CairnStorageAdapter.open(path);
  const repo = new Repo({ storage });
  const handle = await repo.find<{ rounds: number[] }>(url as AutomergeUrl);
  expect(handle.doc().rounds).toEqual([1, 2, 3]);
  await repo.shutdown();
  await storage.close();
});
