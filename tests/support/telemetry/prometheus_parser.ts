/**
 * Parses Prometheus' text format 0.0.4 and refuses every deviation. A family's
 * HELP and TYPE come once, before its samples; labels are escaped; no sample
 * comes twice; buckets grow up to `+Inf`, which equals the count.
 */

/** A sample's labels and its value. */
export interface PrometheusSample {
  /** The line's own name, for example `…_bucket`. */
  name: string;
  labels: Map<string, string>;
  value: number;
}

/** A metric. */
export interface PrometheusFamily {
  help: string;
  type: "counter" | "gauge" | "histogram";
  samples: PrometheusSample[];
}

const metricName = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const labelName = /^[a-zA-Z_][a-zA-Z0-9_]*$/;
const number = /^([+-]?\d+(\.\d+)?(e[+-]?\d+)?|[+-]Inf|NaN)$/;

/** Parses the text; throws at the first line that breaks a rule. */
export function parsePrometheus(text: string): Map<string, PrometheusFamily> {
  if (!text.endsWith("\n")) throw new Error("The last line has no end");
  const families = new Map<string, PrometheusFamily>();
  let current: { name: string; family: PrometheusFamily } | undefined;
  let help: { name: string; text: string } | undefined;
  for (const line of text.slice(0, -1).split("\n")) {
    const fault = (what: string) => new Error(`${what}: ${line}`);
    if (line.startsWith("# HELP ")) {
      const [, name = "", rest = ""] = /^# HELP (\S+) (.+)$/.exec(line) ?? [];
      if (!metricName.test(name)) throw fault("Bad name");
      if (families.has(name)) throw fault("Family stands twice");
      if (help !== undefined) throw fault("HELP without TYPE before");
      help = { name, text: unescape(rest, /\\[\\n]/g) };
    } else if (line.startsWith("# TYPE ")) {
      const [, name = "", type = ""] =
        /^# TYPE (\S+) (counter|gauge|histogram)$/.exec(line) ?? [];
      if (help?.name !== name) throw fault("TYPE without its HELP");
      const family = {
        help: help.text,
        type: type as PrometheusFamily["type"],
        samples: [],
      };
      families.set(name, family);
      current = { name, family };
      help = undefined;
    } else {
      if (current === undefined || help !== undefined) {
        throw fault("Sample without TYPE");
      }
      const sample = parseSample(line);
      const rest = sample.name.slice(current.name.length);
      const allowed = current.family.type === "histogram"
        ? ["_bucket", "_sum", "_count"]
        : [""];
      if (!sample.name.startsWith(current.name) || !allowed.includes(rest)) {
        throw fault(`Sample inside of ${current.name}`);
      }
      current.family.samples.push(sample);
    }
  }
  for (const [name, family] of families) checkFamily(name, family);
  return families;
}

function parseSample(line: string): PrometheusSample {
  const fault = (what: string) => new Error(`${what}: ${line}`);
  const name = /^[^{ ]+/.exec(line)?.[0] ?? "";
  if (!metricName.test(name)) throw fault("Bad name");
  let rest = line.slice(name.length);
  const labels = new Map<string, string>();
  if (rest.startsWith("{")) {
    const pair = /^[{,]([^=]+)="((?:[^"\\\n]|\\[\\"n])*)"/;
    for (;;) {
      const match = pair.exec(rest);
      if (match === null) throw fault("Bad label");
      const [all, key = "", value = ""] = match;
      if (!labelName.test(key) || key.startsWith("__") || labels.has(key)) {
        throw fault(`Bad label ${key}`);
      }
      labels.set(key, unescape(value, /\\[\\"n]/g));
      rest = rest.slice(all.length);
      if (rest.startsWith("}")) break;
    }
    rest = rest.slice(1);
  }
  const value = rest.slice(1);
  if (!rest.startsWith(" ") || !number.test(value)) throw fault("Bad value");
  return { name, labels, value: Number(value.replace("Inf", "Infinity")) };
}

function unescape(text: string, escapes: RegExp): string {
  if (/\\/.test(text.replace(escapes, ""))) {
    throw new Error(`Bad escape: ${text}`);
  }
  return text.replace(escapes, (pair) => pair[1] === "n" ? "\n" : pair[1]!);
}

function checkFamily(name: string, { type, samples }: PrometheusFamily): void {
  if (samples.length === 0) throw new Error(`${name} has no samples`);
  if (type === "counter" && !name.endsWith("_total")) {
    throw new Error(`${name} does not end with _total`);
  }
  const seen = new Set<string>();
  for (const sample of samples) {
    const key = seriesOf(sample, [sample.name, "le"]);
    if (seen.has(key)) throw new Error(`${key} comes twice`);
    seen.add(key);
    if (type === "counter" && !(sample.value >= 0)) {
      throw new Error(`${key} is ${sample.value}`);
    }
  }
  if (type === "histogram") checkHistograms(name, samples);
}

function seriesOf(
  { labels }: PrometheusSample,
  [name, le]: [name: string, le?: string],
): string {
  const pairs = [...labels].filter(([key]) => le !== undefined || key !== "le")
    .sort(([a], [b]) => a < b ? -1 : 1);
  return name + JSON.stringify(pairs);
}

function checkHistograms(name: string, samples: PrometheusSample[]): void {
  const all = Map.groupBy(samples, (sample) => seriesOf(sample, [name]));
  for (const [series, lines] of all) {
    const fault = (what: string) => new Error(`${series}: ${what}`);
    const buckets = lines.filter((line) => line.name === `${name}_bucket`);
    const sums = lines.filter((line) => line.name === `${name}_sum`);
    const counts = lines.filter((line) => line.name === `${name}_count`);
    if (sums.length !== 1 || counts.length !== 1) {
      throw fault("needs one _sum and one _count");
    }
    let bound = -Infinity;
    let count = 0;
    for (const bucket of buckets) {
      const le = bucket.labels.get("le") ?? "";
      if (!number.test(le)) throw fault(`bad le ${le}`);
      const next = Number(le.replace("Inf", "Infinity"));
      if (next <= bound) throw fault(`le ${le} does not grow`);
      if (bucket.value < count) throw fault(`count at le ${le} sinks`);
      bound = next;
      count = bucket.value;
    }
    if (bound !== Infinity) throw fault("has no bucket +Inf");
    if (count !== counts[0]!.value) throw fault("_count is not that of +Inf");
  }
}
