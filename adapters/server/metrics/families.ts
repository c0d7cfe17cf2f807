/** Metrics as families of samples, whoever is to read them. */
import { BOUNDS_MS, type Distribution } from "./histogram.ts";

/** Names with values, in the order in which they are shown. */
export type Labels = readonly (readonly [name: string, value: string])[];

export interface Sample {
  readonly labels: Labels;
  readonly value: number;
}

export interface DistributionSample {
  readonly labels: Labels;
  readonly distribution: Distribution;
}

/** One metric. Names end with their unit; counters with `_total` behind that. */
export type Family =
  | {
      readonly name: string;
      readonly type: "counter" | "gauge";
      readonly help: string;
      readonly samples: readonly Sample[];
    }
  | {
      readonly name: string;
      readonly type: "histogram";
      readonly help: string;
      readonly samples: readonly DistributionSample[];
    };

/** The media types of both forms. */
export const TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8";
export const OPEN_METRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const BOUNDS = [...BOUNDS_MS.map((ms) => String(ms / 1000)), "+Inf"];

/** Families as text: in Prometheus' form, or that of OpenMetrics, where names of counters are without `_total` but in samples. */
export function textOfFamilies(families: readonly Family[], isOpenMetrics: boolean): string {
  const lines: string[] = [];
  for (const family of families) {
    const { name, type, help } = family;
    const shown = isOpenMetrics && type === "counter" ? name.replace(/_total$/, "") : name;
    lines.push(`# HELP ${shown} ${escaped(help, false)}`, `# TYPE ${shown} ${type}`);
    const unit = /_(seconds|bytes|ratio)$/.exec(shown)?.[1];
    if (isOpenMetrics && unit !== undefined) lines.push(`# UNIT ${shown} ${unit}`);
    if (family.type !== "histogram") {
      for (const { labels, value } of family.samples) lines.push(`${name}${labelled(labels)} ${value}`);
      continue;
    }
    for (const { labels, distribution } of family.samples) {
      let below = 0;
      for (const [at, bound] of BOUNDS.entries()) {
        below += distribution.buckets[at] as number;
        lines.push(`${name}_bucket${labelled([...labels, ["le", bound]])} ${below}`);
      }
      lines.push(`${name}_sum${labelled(labels)} ${distribution.sumMs / 1000}`);
      lines.push(`${name}_count${labelled(labels)} ${distribution.count}`);
    }
  }
  if (isOpenMetrics) lines.push("# EOF");
  return `${lines.join("\n")}\n`;
}

function labelled(labels: Labels): string {
  if (labels.length === 0) return "";
  return `{${labels.map(([name, value]) => `${name}="${escaped(value, true)}"`).join(",")}}`;
}

function escaped(text: string, isQuoted: boolean): string {
  const escapedText = text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
  return isQuoted ? escapedText.replaceAll('"', '\\"') : escapedText;
}
