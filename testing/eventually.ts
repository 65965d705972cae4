/** Repeats a look at the world until it passes; fails with its last complaint after `timeoutMs`. */
export async function eventually<T>(look: () => Promise<T> | T, timeoutMs = 60_000, everyMs = 250): Promise<T> {
  const end = Date.now() + timeoutMs;
  for (;;) {
    try {
      return await look();
    } catch (error) {
      if (Date.now() > end) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}
