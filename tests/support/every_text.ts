import { inspect } from "node:util";

/**
 * All that a log could show of an error: what `inspect` shows, its stack, its
 * properties as JSON, hidden ones too, and the same of every cause.
 */
export function everyText(error: unknown): string {
  const texts = [inspect(error, { depth: Infinity, showHidden: true })];
  for (
    let cause = error, depth = 0;
    cause instanceof Error && depth < 16;
    cause = cause.cause, depth++
  ) {
    const properties = Object.getOwnPropertyNames(cause).map((name) => [
      name,
      (cause as unknown as Record<string, unknown>)[name],
    ]);
    texts.push(
      cause.message,
      cause.stack ?? "",
      JSON.stringify(
        properties,
        (_, value) =>
          typeof value === "bigint"
            ? `${value}`
            : value instanceof Error
            ? value.message
            : value,
      ),
    );
  }
  return texts.join("\n");
}
