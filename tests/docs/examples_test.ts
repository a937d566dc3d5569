/**
 * The dashboard, the alert rules and the Kubernetes manifest of docs/examples/
 * use only metrics, labels, values and paths that the store has.
 */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { type MetricDefinition, metrics } from "../../src/telemetry/names.ts";
import { prometheusName } from "../../src/telemetry/prometheus.ts";
import { readDocument } from "../support/docs/documents.ts";
import { root } from "../support/root.ts";

interface Panel {
  id: number;
  type: string;
  title: string;
  gridPos: { x: number; y: number; w: number; h: number };
  targets?: { expr: string; legendFormat: string }[];
}

const dashboard = JSON.parse(readDocument("docs/examples/dashboard.json"));
const panels: Panel[] = dashboard.panels;
const alerts = readDocument("docs/examples/alerts.yaml");

const labelOf = (attribute: string) => attribute.replaceAll(".", "_");
const everywhere = [
  "db_namespace",
  "db_system_name",
  "server_address",
  "server_port",
];

/** The labels of each series that a scrape shows. */
const series = new Map<string, Set<string>>();
for (const metric of Object.values<MetricDefinition>(metrics)) {
  const name = prometheusName(metric);
  const labels = [...everywhere, ...metric.attributes.map(labelOf)];
  if (metric.kind !== "histogram") series.set(name, new Set(labels));
  else {
    for (const end of ["bucket", "sum", "count"]) {
      const own = end === "bucket" ? ["le"] : [];
      series.set(`${name}_${end}`, new Set([...labels, ...own]));
    }
  }
}
const allLabels = new Set([...series.values()].flatMap((set) => [...set]));

/** The source code, which contains every value that an attribute can have. */
const words = readdirSync(join(root, "src"), { recursive: true }).map(String)
  .filter((path) => path.endsWith(".ts"))
  .map((path) => readDocument(`src/${path}`)).join("\n");

/** Checks that a store has every series, label and value of an expression. */
function checkExpression(expression: string): void {
  const names = [...expression.matchAll(/\b(?:stream_storage|db_client)_\w+/g)]
    .map(([name]) => name).filter((name) => !allLabels.has(name));
  assert.ok(names.length > 0, expression);
  for (const name of names) assert.ok(series.has(name), `There is no ${name}`);
  for (
    const [, name, matchers] of expression.matchAll(/(\w+)\{([^}]*)\}/g)
  ) {
    const pattern = /(\w+)\s*(=~|!=|!~|=)\s*"([^"]*)"/g;
    for (const [, label, operator, value] of matchers!.matchAll(pattern)) {
      assert.ok(series.get(name!)?.has(label!), `${name} has no ${label}`);
      if (value === "" || value!.startsWith("$")) continue;
      for (
        const word of operator!.endsWith("~") ? value!.split("|") : [value]
      ) {
        assert.ok(words.includes(`"${word}"`), `${label} is never ${word}`);
      }
    }
  }
  for (const [, list] of expression.matchAll(/\bby \(([^)]*)\)/g)) {
    for (const label of list!.split(",").map((label) => label.trim())) {
      for (const name of names) {
        assert.ok(series.get(name)!.has(label), `${name} has no ${label}`);
      }
    }
  }
}

/** Checks the labels between double braces in a text. */
function checkLabels(text: string): void {
  for (const [, label] of text.matchAll(/\{\{ ?(?:\$labels\.)?(\w+) ?\}\}/g)) {
    assert.ok(allLabels.has(label!), `${text}: There is no label ${label}`);
  }
}

/** Only Bun has a YAML parser. */
const yaml = (globalThis as {
  Bun?: { YAML: { parse(text: string): unknown } };
}).Bun?.YAML;

describe("The dashboard", () => {
  const shown = panels.filter(({ type }) => type !== "row");

  it("uses only metrics and labels that exist", () => {
    assert.ok(shown.length > 15);
    for (const { title, targets = [] } of shown) {
      assert.ok(targets.length > 0, title);
      for (const { expr, legendFormat } of targets) {
        checkExpression(expr);
        checkLabels(legendFormat);
      }
    }
    for (const { definition } of dashboard.templating.list) {
      if (definition === undefined) continue;
      const [, name, label] =
        /^label_values\((\w+), (\w+)\)$/.exec(definition) ??
          [];
      assert.ok(series.get(name!)?.has(label!), definition);
    }
  });

  it("has no two panels with the same place or number", () => {
    assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
    for (const [i, { gridPos: a, title }] of panels.entries()) {
      assert.ok(a.x + a.w <= 24, title);
      for (const { gridPos: b } of panels.slice(i + 1)) {
        const isApart = a.x + a.w <= b.x || b.x + b.w <= a.x ||
          a.y + a.h <= b.y || b.y + b.h <= a.y;
        assert.ok(isApart, title);
      }
    }
  });
});

describe("The alert rules", () => {
  const rules = alerts.split(/^ {6}- alert: /m).slice(1);

  it("use only metrics and labels that exist", () => {
    assert.ok(rules.length > 5);
    for (const rule of rules) {
      const [, expression] = /^ {8}expr:(?: >-)?\s([^]*?)^ {8}\w/m.exec(rule) ??
        [];
      assert.ok(expression, rule);
      checkExpression(expression.replace(/\s+/g, " "));
      checkLabels(rule);
    }
  });

  it("say how urgent they are, and what to check", () => {
    const names = rules.map((rule) => rule.split("\n")[0]);
    assert.equal(new Set(names).size, rules.length);
    for (const rule of rules) {
      assert.match(rule, /^ {10}severity: (page|ticket)$/m);
      assert.match(rule, /^ {10}summary: "/m);
      assert.match(rule, /^ {10}description: >-$/m);
    }
  });

  it("are YAML", { skip: yaml === undefined }, () => {
    const { groups } = yaml!.parse(alerts) as {
      groups: { rules: { alert: string; expr: string }[] }[];
    };
    assert.equal(groups.flatMap(({ rules }) => rules).length, rules.length);
  });
});

describe("The Kubernetes manifest", () => {
  const text = readDocument("docs/examples/kubernetes.yaml");

  it("probes the paths that the health handler answers", () => {
    const paths = [...text.matchAll(/^ +path: (\S+)$/gm)].map(([, at]) => at!);
    assert.deepEqual(paths, ["/readyz", "/livez"]);
    for (const path of paths) assert.ok(words.includes(`"${path}"`), path);
  });

  it(
    "is YAML with three matching resources",
    { skip: yaml === undefined },
    () => {
      const resources = text.split(/^---$/m).map((part) =>
        yaml!.parse(part) as { kind: string; apiVersion: string; spec?: Spec }
      );
      assert.deepEqual(
        resources.map(({ kind }) => kind),
        ["Secret", "Deployment", "Service"],
      );
      const { replicas, strategy, selector, template } = resources[1]!.spec!;
      const [container, ...others] = template.spec.containers;
      assert.equal(others.length, 0);
      // A rollout that keeps a pod ready would wait for ever.
      assert.equal(strategy.rollingUpdate.maxUnavailable, replicas);
      const { matchLabels } = selector as { matchLabels: unknown };
      assert.deepEqual(template.metadata.labels, matchLabels);
      assert.deepEqual(resources[2]!.spec!.selector, matchLabels);
      const [port] = container!.ports;
      for (const probe of ["readinessProbe", "livenessProbe"] as const) {
        assert.equal(container![probe].httpGet.port, port!.name);
      }
    },
  );
});

interface Probe {
  httpGet: { path: string; port: string };
}

/** The fields of the manifest that the tests use. */
interface Spec {
  replicas: number;
  strategy: { rollingUpdate: { maxUnavailable: number } };
  selector: unknown;
  template: {
    metadata: { labels: unknown };
    spec: {
      containers: {
        ports: { name: string }[];
        readinessProbe: Probe;
        livenessProbe: Probe;
      }[];
    };
  };
}
