"""Turns a SentenceTransformer into a folder that the CPU engine runs, and checks that it gives the same vectors.

`prepare` loads the model with SentenceTransformer and takes everything from it: tokenizer, prompts, limits, weights.
It writes two graphs by hand, one in float32 and one in int8, runs both against the model, and offers what is near
enough.

How int8 works here
===================

Nearly all of a model's time goes into linear layers: y = x W, with a row of x for each token, x (tokens, in), and W
(in, out). A processor multiplies 8-bit integers several times as fast as float32, and reads a quarter of the bytes.
So both x and W become integers: a number a is stored as q = round(a / s), from -127 to 127, and read back as q · s.
The scale s has to be small, for it is what rounding may lose, and large, for 127 · s is the largest number there is.
The art is in choosing scales. Each layer is computed as

    y[t, j]  ≈  p[t] · s[j] / 127 · Σ_i Q[t, i] · V[i, j]

    Q[t, i] = round(127 · x[t, i] / d[i] / p[t])        V[i, j] = round(d[i] · W[i, j] / s[j])

The sum is one of integers, which ONNX Runtime's MatMulIntegerToFloat computes and scales in one pass. The rest:

s[j], an output channel's scale. Known beforehand, from the column's largest weight. GPTQ (arXiv:2210.17323) rounds
a column's weights in turn and lets the later ones make up for the error of the earlier ones, as the inputs that
calibration has seen make it count. (`quantize.quantize`)

p[t], a token's scale: the largest |x[t, i] / d[i]| of its row, found while the graph runs. One scale for all tokens
would be cheaper, and a text's vector would then depend on the texts beside it. A row of zeros has p = 0, so the graph
takes at least a tiny number, and gives zeros.

d[i], an input channel's divisor. Trained models have a few channels a hundred times as large as the others, which set
p[t] for all and leave the others two or three of the 127 steps. Dividing such a channel and multiplying its weights
changes nothing, (x / d) (d W) = x W, and moves part of the range into the weights, which have room (SmoothQuant,
arXiv:2211.10438). With a channel's size a in x and w in W, d = a^α / w^(1 - α), with the α that loses least on samples.
(`quantize.balance`)

Where a divisor is absorbed. Dividing x while the graph runs would cost a pass over it. What computes x can give it
divided, where that is linear in a weight of its own (Gemma, `gemma._read_layer`):

    x of          is computed as                  absorbed by
    q, k, v       RMS norm · factor               the norm's factor / d
    gate, up      RMS norm · factor               the norm's factor / d
    o             attention's mean of v           the columns of v / d; all query heads share one v, so d repeats a head
    down          gelu(gate) · up                 the columns of up / d

BERT's norms also feed the residual, so its graph divides (`Int8.affine`).

Why a token's scale cancels. The outputs of o and down go straight into an RMS norm, y / √(mean(y²) + ε), which gives
the same for y and for y / p[t] but for the tiny ε. So those products leave p[t] out (`scale_free`).

16-bit inputs. Where rounding x alone moves a product by more than 1 %, x is taken as two 8-bit numbers, the rounded
value and what rounding left over, 254 times as fine. Both go through one product, as twice as many rows.
(`linear.Int8`)

Inputs with a lower bound. GELU gives -0.17 or more. Shifted by that, x needs no sign, and 255 steps instead of 127
fit; the shift's part of the product is constant and goes into the bias.
"""

from embedding.model.prepare.prepare import prepare, print_progress, refuse_to_replace

__all__ = ["prepare", "print_progress", "refuse_to_replace"]
