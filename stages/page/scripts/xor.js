// XOR's training, step by step.
{
  const { frames } = data.xor;
  const frame = document.getElementById("frame");
  const play = document.getElementById("play");
  const plane = document.getElementById("plane");
  const curve = document.getElementById("curve");
  const says = document.getElementById("says");
  const answers = [0, 1, 1, 0]; // to (0, 0), (0, 1), (1, 0), (1, 1)

  const highest = Math.max(...frames.loss);
  const lossAt = (loss) => 190 - (170 * loss) / highest;
  const stepAt = (step) => 40 + (250 * step) / frames.step.at(-1);

  /** Show frame k: where the points are, on which side of the line, and how large the loss is. */
  function showFrame(k) {
    const [v1, v2, c] = frames.line[k];
    const length = Math.hypot(v1, v2) || 1;
    const [nx, ny] = [v1 / length, v2 / length];
    const [fx, fy] = [(-c * nx) / length, (-c * ny) / length]; // the line's point next to the origin
    const far = 9;
    const ends = [1, -1].map((way) => [fx - way * far * ny, fy + way * far * nx]);
    const side = (way) =>
      [...ends, ...[...ends].reverse().map(([x, y]) => [x + way * far * nx, y + way * far * ny])]
        .map(([x, y]) => `${x},${-y}`)
        .join(" ");
    set(plane.querySelector(".one"), { points: side(1) });
    set(plane.querySelector(".zero"), { points: side(-1) });
    const [[x1, y1], [x2, y2]] = ends;
    set(plane.querySelector(".line"), { x1, y1: -y1, x2, y2: -y2 });

    let right = 0;
    frames.hidden[k].forEach(([x, y], p) => {
      right += v1 * x + v2 * y + c > 0 === (answers[p] === 1);
      set(plane.querySelectorAll(".point")[p], { transform: `translate(${x} ${-y})` });
      // Two points of a class can end in one place: the first is named beside it, the second above.
      const beside = p < 2;
      set(plane.querySelectorAll(".name")[p], {
        x: x + (beside ? (x > -0.6 ? -0.1 : 0.1) : 0),
        y: -y + (beside ? 0.03 : y > 0 ? 0.19 : -0.1),
        "text-anchor": beside ? (x > -0.6 ? "end" : "start") : "middle",
      });
    });
    set(curve.querySelector("circle"), { cx: stepAt(frames.step[k]), cy: lossAt(frames.loss[k]) });
    const text = `step ${frames.step[k].toLocaleString("en")}: loss ${frames.loss[k].toFixed(4)}, ${right} of 4 points right`;
    says.textContent = text;
    frame.setAttribute("aria-valuetext", text);
  }

  let timer = null;
  function pause() {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
    says.setAttribute("aria-live", "polite");
  }
  play.addEventListener("click", () => {
    if (timer) return pause();
    if (frame.value === frame.max) frame.value = 0;
    play.textContent = "Pause";
    says.setAttribute("aria-live", "off"); // a reader cannot keep up with the playback
    timer = setInterval(() => {
      frame.value = Number(frame.value) + 1;
      showFrame(Number(frame.value));
      if (frame.value === frame.max) pause();
    }, 40);
  });
  frame.addEventListener("input", () => {
    pause();
    showFrame(Number(frame.value));
  });

  const path = frames.loss.map((loss, k) => `${stepAt(frames.step[k])},${lossAt(loss)}`);
  set(curve.querySelector(".loss"), { points: path.join(" ") });
  const floor = lossAt(4 * Math.log(2));
  set(curve.querySelector(".floor"), { y1: floor, y2: floor });
  set(curve.querySelector(".floor-name"), { y: floor - 5 });
  showFrame(Number(frame.value));
}
