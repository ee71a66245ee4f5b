// The learning curves: loss and accuracy by epoch.
{
  const splits = [
    ["train", "training", "var(--split-train)"],
    ["val", "validation", "var(--split-val)"],
    ["test", "test", "var(--split-test)"],
  ].filter(([split]) => `${split}_loss` in data.history);
  const { epoch } = data.history;
  const x = { label: "epoch", low: 0.9, high: Math.max(epoch.at(-1), 2) };

  /** @param {string} id @param {string} measure @param {object} axis of the values, without its limits */
  function drawHistory(id, measure, axis) {
    const series = splits.map(([split, name, colour]) => ({
      name,
      colour,
      points: data.history[`${split}_${measure}`].map((value, k) => [epoch[k], value]),
    }));
    const values = series.flatMap(({ points }) => points.map(([, value]) => value));
    const y = { ...limits(values, axis.log), ...axis };
    makeChart(document.getElementById(id))({ label: `${axis.label} by epoch`, x, y, series });
  }
  const percent = (value) => `${(100 * value).toFixed(2)}%`;
  drawHistory("history-loss", "loss", { label: "cross-entropy", log: true, format: (value) => value.toFixed(4) });
  drawHistory("history-accuracy", "acc", { label: "accuracy", format: percent, tick: (value) => `${round(100 * value)}%` });
}
