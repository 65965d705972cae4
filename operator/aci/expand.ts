/**
 * Kubernetes' own expansion of `$(NAME)` in values and commands, which ACI does not do. `$$` stands for one `$`; the reference to a
 * name that is not there stays as it is. https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/
 */

/** A text, and whether a secret has gone into it. */
export interface Text {
  readonly text: string;
  readonly secret: boolean;
}

/** Expands `text` by what stands before it. */
export function expand(text: string, known: ReadonlyMap<string, Text>): Text {
  let secret = false;
  const expanded = text.replace(/\$\$|\$\(([^()]*)\)/g, (reference, name?: string) => {
    if (name === undefined) return '$';
    const found = known.get(name);
    if (found === undefined) return reference;
    secret ||= found.secret;
    return found.text;
  });
  return { text: expanded, secret };
}
