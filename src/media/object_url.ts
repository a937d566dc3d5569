/** The address of an object or, without a name, of the bucket. */
export function objectUrl(
  baseUrl: string,
  name: string,
  query: Record<string, string>,
): URL {
  const url = new URL(baseUrl);
  if (name !== "") {
    const path = name.split("/").map(encodeStrictly).join("/");
    url.pathname = `${url.pathname.replace(/\/$/, "")}/${path}`;
  }
  url.search = Object.entries(query)
    .map(([key, value]) => `${key}=${encodeStrictly(value)}`)
    .join("&");
  return url;
}

/** An address without slashes at its end, so that a path can be added. */
export function withoutEndSlashes(text: string): string {
  // A loop, because a regular expression would start again at every slash.
  let end = text.length;
  while (end > 0 && text[end - 1] === "/") end--;
  return text.slice(0, end);
}

/** Also encodes what encodeURIComponent leaves alone, as signatures require. */
function encodeStrictly(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
