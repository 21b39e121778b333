// In place of MathJax, which Voilà would load from another machine: pages have no formulas, and what
// looks like one (prices, for instance) is left as it is.
{
  const ignore = () => {};
  window.MathJax = { Hub: { Config: ignore, Configured: ignore, Queue: ignore, Register: { StartupHook: ignore } } };
}
