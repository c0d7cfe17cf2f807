/** What was taken of the engine's branches, as text. */

/**
 * @typedef {import("./instrument.mjs").Branch} Branch
 * @typedef {import("./reasons.mjs").Reason} Reason
 */

/**
 * How a branch is called in a report.
 *
 * @param {Branch} branch
 */
export function nameOf({ file, line, inside, kind, text, outcome }) {
  const way = kind === "case" ? "" : kind === "loop" ? (outcome ? " (goes on)" : " (ends)") : ` (${outcome})`;
  return `${file}:${line} ${inside}: ${kind} ${text}${way}`;
}

/**
 * Why a branch is not taken, if that is known.
 *
 * @param {Branch} branch
 * @param {readonly Reason[]} reasons
 */
export function reasonOf(branch, reasons) {
  return reasons.find((reason) => isMeant(reason, branch));
}

/**
 * Of each file, in order, and of all: branches, and how many of them were taken.
 *
 * @param {readonly Branch[]} branches
 * @param {Uint8Array} hits a byte for each branch, 0 where it was not taken
 */
export function figures(branches, hits) {
  /** @type {Map<string, { file: string, branches: number, taken: number }>} */
  const files = new Map();
  const all = { file: "all", branches: 0, taken: 0 };
  branches.forEach(({ file }, i) => {
    const figure = files.get(file) ?? { file, branches: 0, taken: 0 };
    files.set(file, figure);
    for (const each of [figure, all]) {
      each.branches++;
      if (hits[i]) each.taken++;
    }
  });
  return { files: [...files.values()], all };
}

/** @param {{ branches: number, taken: number }} figure */
export function shareOf({ branches, taken }) {
  return branches === 0 ? 1 : taken / branches;
}

/** @param {{ branches: number, taken: number }} figure */
export function percentOf(figure) {
  // Never 100 % where one is missing.
  return `${(Math.floor(shareOf(figure) * 1000) / 10).toFixed(1)} %`;
}

/**
 * The report for the terminal.
 *
 * @param {readonly Branch[]} branches
 * @param {Uint8Array} hits
 * @param {readonly Reason[]} reasons
 */
export function reportText(branches, hits, reasons) {
  const { files, all } = figures(branches, hits);
  const lines = [...files, all].map(
    (each) => `${percentOf(each).padStart(8)} ${`${each.taken}/${each.branches}`.padStart(10)}  ${each.file}`,
  );
  const missing = branches.filter((_, i) => !hits[i]);
  const unknown = missing.filter((each) => reasonOf(each, reasons) === undefined);
  lines.push("", `not taken, with a reason (scripts/coverage/reasons.mjs): ${missing.length - unknown.length}`);
  lines.push(`not taken, without a reason: ${unknown.length}`, ...unknown.map((each) => `  ${nameOf(each)}`));
  const stale = reasons.filter((reason) => !missing.some((branch) => isMeant(reason, branch)));
  lines.push(
    ...stale.map(({ file, inside, text }) => `taken by now, or gone, but with a reason: ${file} ${inside}: ${text}`),
  );
  return lines.join("\n");
}

/**
 * The list of branches that are not taken as a page of the documentation.
 *
 * @param {readonly Branch[]} branches
 * @param {Uint8Array} hits
 * @param {readonly Reason[]} reasons
 */
export function reportPage(branches, hits, reasons) {
  const { files, all } = figures(branches, hits);
  const lines = [
    "# Branches of the engine that the tests do not take",
    "",
    "Written by `npm run coverage -- --write`: [testing.md](testing.md) says how branches are counted. Why a branch is not",
    "taken stands in `scripts/coverage/reasons.mjs`.",
    "",
    `Of ${all.branches} branches ${all.taken} are taken: ${percentOf(all)}.`,
    "",
    "| file | branches | taken | |",
    "|---|---|---|---|",
    ...files.map((each) => `| \`${each.file}\` | ${each.branches} | ${each.taken} | ${percentOf(each)} |`),
    "",
  ];
  const missing = branches.filter((_, i) => !hits[i]);
  /** @type {Map<string, Branch[]>} */
  const groups = new Map();
  for (const branch of missing) {
    const why = reasonOf(branch, reasons)?.why ?? "No reason is known: a test is missing.";
    groups.set(why, [...(groups.get(why) ?? []), branch]);
  }
  for (const [why, group] of [...groups].sort((a, b) => b[1].length - a[1].length)) {
    lines.push(`## ${why}`, "", ...group.map((each) => `- \`${nameOf(each).replaceAll("`", "'")}\``), "");
  }
  return `${lines.join("\n").trimEnd()}\n`;
}

/**
 * @param {Reason} reason
 * @param {Branch} branch
 */
function isMeant(reason, branch) {
  const { file, inside, text, outcome } = reason;
  if (file !== branch.file || inside !== branch.inside || text !== branch.text) return false;
  return outcome === undefined || outcome === branch.outcome;
}
