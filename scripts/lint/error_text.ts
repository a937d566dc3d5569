/**
 * A plugin of `deno lint` for the texts of errors that callers get: a text begins
 * with a capital letter or a name, and does not end with a full stop, because
 * programs put more text behind it.
 */

const plugin: Deno.lint.Plugin = {
  name: "error-text",
  rules: {
    sentence: {
      create(context) {
        // Tests make errors whose text no caller gets.
        if (context.filename.endsWith("_test.ts")) return {};
        const check = (node: Deno.lint.Node | undefined) => {
          const text = node && textOf(node);
          const fault = text === undefined ? undefined : faultOf(text);
          if (fault !== undefined) {
            context.report({ node: node!, message: fault });
          }
        };
        return {
          'NewExpression[callee.name="StreamStorageError"] > ObjectExpression > Property[key.name="message"]'(
            node: Deno.lint.Property,
          ) {
            check(node.value);
          },
          'CallExpression[callee.name="fault"]'(
            node: Deno.lint.CallExpression,
          ) {
            check(node.arguments[2]);
          },
        };
      },
    },
  },
};

/** The text; `X` stands for what code inserts. */
function textOf(node: Deno.lint.Node): string | undefined {
  switch (node.type) {
    case "Literal":
      return typeof node.value === "string" ? node.value : undefined;
    case "TemplateLiteral":
      return node.quasis.map(({ cooked }) => cooked).join("X");
    case "BinaryExpression":
      return `${textOf(node.left) ?? "X"}${textOf(node.right) ?? "X"}`;
    default:
      return undefined;
  }
}

function faultOf(text: string): string | undefined {
  if (/^[a-z]+( |$)/.test(text)) return "Expected a capital letter first";
  if (/\.$/.test(text)) return "Expected no full stop at the end";
  return undefined;
}

export default plugin;
