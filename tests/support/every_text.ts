import { inspect } from "node:util";

/**
 * All text that a log could show for an error: its message, its stack, its
 * properties as JSON, hidden ones included, what `inspect` shows, and the same
 * for every cause.
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
