/**
 * Migration files. Text before the first `--:` line describes the file; each
 * such line opens a section and says what its statements run for: see
 * `migrations/README.md`.
 */

/** What the statements of a section run for. */
export type SectionScope = "once" | "each partition" | "each media partition";

/** A part of a migration file. */
export interface Section {
  /** Whether it is a query that returns rows if data would be lost. */
  lost: boolean;
  scope: SectionScope;
  sql: string;
}

/** The values of a template's placeholders. */
export interface TemplateValues {
  /** The schema's name, quoted. */
  schema: string;
  /** The number of partitions; needed by `prepare.sql` only. */
  partitions?: number;
}

const scopes: readonly string[] = [
  "once",
  "each partition",
  "each media partition",
] satisfies SectionScope[];

/** Parses a migration file. */
export function parseTemplate(text: string): Section[] {
  const [, ...parts] = text.split(/^--: (.+)$/m);
  const sections: Section[] = [];
  for (let i = 0; i < parts.length; i += 2) {
    const lost = parts[i]!.startsWith("lost ");
    const scope = parts[i]!.replace(/^lost /, "");
    if (!isScope(scope)) throw new Error(`Unknown section ${parts[i]}`);
    sections.push({ lost, scope, sql: parts[i + 1]!.trim() });
  }
  return sections;
}

/** A section's SQL, once for each suffix that it runs for. */
export function renderSection(
  section: Section,
  values: TemplateValues,
  suffixes: readonly string[],
): string[] {
  switch (section.scope) {
    case "once":
      return [fill(section.sql, values)];
    case "each partition":
      return suffixes.map((suffix) => fill(section.sql, { ...values, suffix }));
    case "each media partition":
      return suffixes.filter((suffix) => suffix.startsWith("m"))
        .map((suffix) => fill(section.sql, { ...values, suffix }));
  }
}

/** A single pass, so that no placeholder's value is read as a template. */
function fill(
  sql: string,
  values: TemplateValues & { suffix?: string },
): string {
  return sql.replace(/\{\{(\w+)\}\}/g, (_, name: string) => {
    const value = values[name as keyof typeof values];
    if (value === undefined) throw new Error(`No value for {{${name}}}`);
    return String(value);
  });
}

function isScope(text: string): text is SectionScope {
  return scopes.includes(text);
}
