/** One after the other: in parallel Deno 2.8.0 loses node's modules. */
let last: Promise<unknown> = Promise.resolve();

/**
 * Loads what most of the package is behind: a program that wants the twin in
 * memory, the errors or the stream ids does not wait for it.
 */
export function loadModule<T>(load: () => Promise<T>): Promise<T> {
  const loading = last.then(load, load);
  last = loading;
  return loading;
}
