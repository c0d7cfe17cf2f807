/** What several processes of one server tell, as one. */
import type { Family, Labels } from "../metrics/families.ts";
import type { Distribution } from "../metrics/histogram.ts";

/** Families of one process. */
export interface ProcessFamilies {
  /** How it is named: `owner`, or a worker's number. */
  name: string;
  families: readonly Family[];
}

type Kept = Map<string, { labels: Labels; value: number; distribution?: Distribution }>;

/**
 * Sums of all processes, sample by sample; what is about a process (`process_…`) stays apart, with the label `worker`. `past`: what processes
 * had counted that are gone, so that no counter goes back.
 */
export function summedFamilies(
  processes: readonly ProcessFamilies[],
  past: readonly (readonly Family[])[] = [],
): Family[] {
  const sums = new Map<string, { family: Family; samples: Kept }>();
  const add = (family: Family, name: string | undefined): void => {
    let sum = sums.get(family.name);
    if (sum === undefined) {
      sum = { family, samples: new Map() };
      sums.set(family.name, sum);
    }
    for (const sample of family.samples) {
      const isApart = family.name.startsWith("process_") && name !== undefined;
      const labels: Labels = isApart ? [...sample.labels, ["worker", name]] : sample.labels;
      const key = JSON.stringify(labels);
      const known = sum.samples.get(key);
      if ("distribution" in sample) {
        const distribution =
          known?.distribution === undefined ? sample.distribution : added(known.distribution, sample.distribution);
        sum.samples.set(key, { labels, value: 0, distribution });
      } else sum.samples.set(key, { labels, value: (known?.value ?? 0) + sample.value });
    }
  };
  for (const { name, families } of processes) for (const family of families) add(family, name);
  for (const family of past.flat()) add(family, undefined);
  return [...sums.values()].map(({ family, samples }): Family => {
    if (family.type === "histogram") {
      const kept = [...samples.values()].map(({ labels, distribution }) => ({
        labels,
        distribution: distribution as Distribution,
      }));
      return { ...family, samples: kept };
    }
    return { ...family, samples: [...samples.values()].map(({ labels, value }) => ({ labels, value })) };
  });
}

/** Of what a process told last, what still counts when it is gone. */
export function counted(families: readonly Family[]): Family[] {
  return families.filter(({ name, type }) => type !== "gauge" && !name.startsWith("process_"));
}

function added(one: Distribution, other: Distribution): Distribution {
  return {
    buckets: one.buckets.map((count, at) => count + (other.buckets[at] ?? 0)),
    count: one.count + other.count,
    sumMs: one.sumMs + other.sumMs,
  };
}
