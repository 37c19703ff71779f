"""Small Keras models, one for each layer and setting that the converter knows; works with Keras 3 and tf_keras."""

# ruff: noqa
# mypy: ignore-errors
import numpy as np


def builders(keras):
    """Return seq(shape, layer makers…) and fn(shape, function of a tensor): each returns a function that makes a model."""

    def seq(shape, *ls):
        return lambda: keras.Sequential(
            [keras.Input(shape), *[l() if callable(l) and not isinstance(l, keras.layers.Layer) else l for l in ls]]
        )

    def fn(shape, f):
        def b():
            i = keras.Input(shape)
            return keras.Model(i, f(i))

        return b

    return seq, fn


def models(keras):
    """Return name → function that makes a model."""
    L = keras.layers
    K3 = keras.__version__.startswith("3")
    seq, fn = builders(keras)

    I = (9, 10, 6)
    cases = {}
    for pad in ("same", "valid"):
        for s in (1, 2):
            for k in (2, 3):
                cases[f"conv2d-{pad}-{s}-{k}"] = seq(
                    I, lambda pad=pad, s=s, k=k: L.Conv2D(4, k, strides=s, padding=pad, activation="relu")
                )
                cases[f"dw-{pad}-{s}-{k}"] = seq(
                    I, lambda pad=pad, s=s, k=k: L.DepthwiseConv2D(k, strides=s, padding=pad, depth_multiplier=2)
                )
                cases[f"sep-{pad}-{s}-{k}"] = seq(
                    I,
                    lambda pad=pad, s=s, k=k: L.SeparableConv2D(
                        5, k, strides=s, padding=pad, depth_multiplier=2, activation="tanh"
                    ),
                )
                cases[f"convT-{pad}-{s}-{k}"] = seq(
                    I, lambda pad=pad, s=s, k=k: L.Conv2DTranspose(4, k, strides=s, padding=pad)
                )
                cases[f"max-{pad}-{s}-{k}"] = seq(
                    I, lambda pad=pad, s=s, k=k: L.MaxPooling2D(k, strides=s, padding=pad)
                )
                cases[f"avg-{pad}-{s}-{k}"] = seq(
                    I, lambda pad=pad, s=s, k=k: L.AveragePooling2D(k, strides=s, padding=pad)
                )
        cases[f"conv2d-dil-{pad}"] = seq(I, lambda pad=pad: L.Conv2D(4, 3, dilation_rate=(2, 3), padding=pad))
        cases[f"conv2d-group-{pad}"] = seq(I, lambda pad=pad: L.Conv2D(4, 3, groups=2, padding=pad))
        cases[f"dw-dil-{pad}"] = seq(I, lambda pad=pad: L.DepthwiseConv2D(3, dilation_rate=2, padding=pad))
        cases[f"sepconv1d-{pad}"] = seq((12, 6), lambda pad=pad: L.SeparableConv1D(4, 3, padding=pad))
        cases[f"convT1d-{pad}"] = seq((12, 6), lambda pad=pad: L.Conv1DTranspose(4, 3, strides=2, padding=pad))
        cases[f"max1-{pad}"] = seq((12, 6), lambda pad=pad: L.MaxPooling1D(3, strides=2, padding=pad))
        cases[f"avg1-{pad}"] = seq((12, 6), lambda pad=pad: L.AveragePooling1D(3, strides=2, padding=pad))
        cases[f"convT-op-{pad}"] = seq(
            I, lambda pad=pad: L.Conv2DTranspose(4, 3, strides=2, padding=pad, output_padding=1)
        )
        cases[f"convT-dil-{pad}"] = seq(I, lambda pad=pad: L.Conv2DTranspose(4, 3, dilation_rate=2, padding=pad))
        cases[f"dw1d-{pad}"] = seq(
            (12, 6), lambda pad=pad: L.DepthwiseConv1D(3, padding=pad, strides=2, depth_multiplier=3)
        )
    for pad in ("same", "valid", "causal"):
        cases[f"conv1d-{pad}"] = seq((12, 6), lambda pad=pad: L.Conv1D(4, 3, dilation_rate=2, padding=pad))
        cases[f"conv1d-s-{pad}"] = seq((12, 6), lambda pad=pad: L.Conv1D(4, 4, strides=2, padding=pad))
    cases["rect"] = seq(I, lambda: L.Conv2D(4, (2, 5), strides=(2, 2), padding="same", use_bias=False))
    acts = [
        "relu",
        "sigmoid",
        "tanh",
        "elu",
        "selu",
        "softplus",
        "softsign",
        "exponential",
        "linear",
        "gelu",
        "swish",
        "hard_sigmoid",
        "softmax",
        "mish",
        "relu6" if K3 else None,
        "silu" if K3 else None,
    ]
    if K3:
        acts += [
            "leaky_relu",
            "log_softmax",
            "celu",
            "glu",
            "hard_shrink",
            "hard_tanh",
            "log_sigmoid",
            "soft_shrink",
            "squareplus",
            "tanh_shrink",
            "sparse_plus",
            "sparse_sigmoid",
            "threshold",
            "hard_silu",
            "hard_swish",
        ]
    for a in acts:
        if a:
            cases["act-" + a] = seq(I, lambda a=a: L.Activation(a))
            if a not in ("glu",):
                cases["dense-" + a] = seq((7,), lambda a=a: L.Dense(6, activation=a))
    cases["relu-opts"] = seq(I, lambda: L.ReLU(max_value=1.5, negative_slope=0.1, threshold=0.3))
    cases["relu6l"] = seq(I, lambda: L.ReLU(6.0))
    cases["relu-slope"] = seq(I, lambda: L.ReLU(negative_slope=0.2))
    cases["leaky"] = seq(I, lambda: L.LeakyReLU(0.17))
    cases["prelu"] = seq(I, lambda: L.PReLU())
    cases["prelu-sh"] = seq(I, lambda: L.PReLU(shared_axes=[1, 2]))
    cases["prelu-conv"] = seq(I, lambda: L.Conv2D(4, 3), lambda: L.PReLU(shared_axes=[1, 2]))
    cases["prelu-conv2"] = seq(I, lambda: L.Conv2D(4, 3), lambda: L.PReLU())
    cases["elu"] = seq(I, lambda: L.ELU(0.7))
    cases["softmax-ax"] = seq(I, lambda: L.Softmax(axis=1))
    cases["softmax-c"] = seq(I, lambda: L.Conv2D(4, 3), lambda: L.Softmax(axis=2))
    if not K3:
        cases["thresh"] = seq(I, lambda: L.ThresholdedReLU(0.4))
    for ax in (-1, 1, 2, 3):
        cases[f"bn-{ax}"] = seq(I, lambda ax=ax: L.BatchNormalization(axis=ax))
        cases[f"conv-bn-{ax}"] = seq(I, lambda: L.Conv2D(4, 3), lambda ax=ax: L.BatchNormalization(axis=ax))
        cases[f"ln-{ax}"] = seq(I, lambda: L.Conv2D(4, 3), lambda ax=ax: L.LayerNormalization(axis=ax))
    cases["bn-ns"] = seq(I, lambda: L.BatchNormalization(scale=False))
    cases["bn-nc"] = seq(I, lambda: L.BatchNormalization(center=False, epsilon=0.01))
    cases["bn-nn"] = seq(I, lambda: L.BatchNormalization(center=False, scale=False))
    cases["bn-dense"] = seq((7,), lambda: L.Dense(5), lambda: L.BatchNormalization())
    cases["ln-2"] = seq(I, lambda: L.LayerNormalization(axis=[1, 3]))
    cases["ln-plain"] = seq(I, lambda: L.LayerNormalization(scale=False))
    cases["ln-flat"] = seq((7,), lambda: L.LayerNormalization())
    cases["gn"] = seq(I, lambda: L.GroupNormalization(3))
    cases["gn-conv"] = seq(I, lambda: L.Conv2D(4, 3), lambda: L.GroupNormalization(-1))
    cases["unit"] = seq(I, lambda: L.UnitNormalization())
    for n in ("GlobalAveragePooling2D", "GlobalMaxPooling2D"):
        for kd in (False, True):
            cases[f"{n}-{kd}"] = seq(I, lambda n=n, kd=kd: getattr(L, n)(keepdims=kd))
            cases[f"{n}-{kd}-c"] = seq(
                I, lambda: L.Conv2D(4, 3), lambda n=n, kd=kd: getattr(L, n)(keepdims=kd), lambda: L.Dense(3)
            )
    for n in ("GlobalAveragePooling1D", "GlobalMaxPooling1D"):
        cases[n] = seq((12, 6), lambda n=n: getattr(L, n)())
    cases["zp"] = seq(I, lambda: L.ZeroPadding2D(((1, 2), (0, 3))))
    cases["zp1"] = seq(I, lambda: L.ZeroPadding2D((1, 2)))
    cases["zp-1d"] = seq((12, 6), lambda: L.ZeroPadding1D((1, 2)))
    cases["crop"] = seq(I, lambda: L.Cropping2D(((1, 2), (0, 3))))
    cases["crop1"] = seq(I, lambda: L.Cropping2D(1))
    cases["crop-1d"] = seq((12, 6), lambda: L.Cropping1D((1, 2)))
    cases["up"] = seq(I, lambda: L.UpSampling2D((2, 3)))
    cases["upb"] = seq(I, lambda: L.UpSampling2D((2, 3), interpolation="bilinear"))
    cases["up1"] = seq((12, 6), lambda: L.UpSampling1D(3))
    cases["flat"] = seq(I, lambda: L.Flatten(), lambda: L.Dense(3))
    cases["flat-c"] = seq(I, lambda: L.Conv2D(4, 3), lambda: L.Flatten(), lambda: L.Dense(3))
    cases["reshape"] = seq(I, lambda: L.Conv2D(4, 3), lambda: L.Reshape((-1, 4)))
    cases["reshape2"] = seq((12,), lambda: L.Reshape((2, -1, 3)))
    cases["perm"] = seq(I, lambda: L.Conv2D(4, 3), lambda: L.Permute((3, 1, 2)))
    cases["repeat"] = seq((7,), lambda: L.RepeatVector(5))
    cases["dense-3d"] = seq(I, lambda: L.Dense(4, activation="relu"))
    cases["conv-dense"] = seq(I, lambda: L.Conv2D(4, 3), lambda: L.Dense(5))
    cases["gap-kd-conv1"] = seq(
        I, lambda: L.GlobalAveragePooling2D(keepdims=True), lambda: L.Dense(4), lambda: L.Conv2D(3, 1)
    )
    cases["drop"] = seq(
        I,
        lambda: L.Dropout(0.5),
        lambda: L.SpatialDropout2D(0.2),
        lambda: L.GaussianNoise(0.1),
        lambda: L.GaussianDropout(0.1),
        lambda: L.AlphaDropout(0.1),
        lambda: L.ActivityRegularization(0.1),
    )
    cases["resc"] = seq(I, lambda: L.Rescaling(1 / 127.5, -1))
    cases["rescl"] = seq(I, lambda: L.Rescaling([1, 2, 3, 4, 5, 6.0], [1, 0, 1, 0, 1, 0.0]))
    cases["resize"] = seq(I, lambda: L.Resizing(5, 17))
    cases["resizen"] = seq(I, lambda: L.Resizing(5, 17, interpolation="nearest"))
    cases["resizec"] = seq((9, 16, 3), lambda: L.Resizing(5, 5, crop_to_aspect_ratio=True))
    cases["centercrop"] = seq(I, lambda: L.CenterCrop(4, 5))
    cases["centercrop-up"] = seq(I, lambda: L.CenterCrop(12, 11))
    cases["norm"] = seq(I, lambda: L.Normalization(mean=[1.0, 2, 3, 4, 5, 6], variance=[1.0, 2, 3, 4, 5, 6]))
    cases["norm1"] = seq(I, lambda: L.Normalization(axis=None, mean=2.0, variance=3.0))

    def adapted():
        n = L.Normalization()
        n.adapt(np.random.rand(20, *I).astype("f") * 3 + 1)
        return keras.Sequential([keras.Input(I), n, L.Flatten(), L.Dense(3)])

    cases["norm-adapt"] = adapted
    cases["aug"] = seq(
        I,
        lambda: L.RandomFlip(),
        lambda: L.RandomRotation(0.1),
        lambda: L.RandomZoom(0.1),
        lambda: L.RandomTranslation(0.1, 0.1),
        lambda: L.RandomContrast(0.1),
        lambda: L.Conv2D(3, 3),
    )
    for n in ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"):
        cases["m-" + n] = fn(I, lambda i, n=n: getattr(L, n)()([L.Conv2D(4, 3)(i), L.Conv2D(4, 3)(i)]))
        if n != "Subtract":
            cases["m3-" + n] = fn(
                I, lambda i, n=n: getattr(L, n)()([L.Conv2D(6, 3, padding="same")(i), i, L.Permute((1, 2, 3))(i)])
            )
    cases["concat-ax1"] = fn(I, lambda i: L.Concatenate(axis=1)([L.Conv2D(6, 3, padding="same")(i), i]))
    cases["se"] = fn(
        I,
        lambda i: L.Multiply()(
            [L.Conv2D(6, 3)(i), L.Reshape((1, 1, 6))(L.Dense(6, activation="sigmoid")(L.GlobalAveragePooling2D()(i)))]
        ),
    )
    cases["dot2"] = fn((6,), lambda i: L.Dot(axes=1)([L.Dense(4)(i), L.Dense(4)(i)]))
    cases["dotn"] = fn((6,), lambda i: L.Dot(axes=1, normalize=True)([L.Dense(4)(i), L.Dense(4)(i)]))
    cases["dot3"] = fn((6, 5), lambda i: L.Dot(axes=(2, 2))([i, L.Dense(5)(i)]))
    cases["dot32"] = fn((6, 5), lambda i: L.Dot(axes=(1, 1))([i, L.GlobalMaxPooling1D()(L.Permute((2, 1))(i))]))
    for nm, l in (("LSTM", L.LSTM), ("GRU", L.GRU), ("SimpleRNN", L.SimpleRNN)):
        for kw in (
            {},
            {"return_sequences": True},
            {"go_backwards": True},
            {"use_bias": False},
            {"recurrent_activation": "hard_sigmoid", "activation": "relu"}
            if nm != "SimpleRNN"
            else {"activation": "relu"},
        ):
            cases[f"{nm}-{kw}"] = seq((7, 5), lambda l=l, kw=kw: l(4, **kw))
        for m in ("concat", "sum", "ave", "mul"):
            cases[f"bi-{nm}-{m}"] = seq(
                (7, 5), lambda l=l, m=m: L.Bidirectional(l(4, return_sequences=True), merge_mode=m)
            )
        cases[f"bi-{nm}-last"] = seq((7, 5), lambda l=l: L.Bidirectional(l(4)))
    cases["gru-ra0"] = seq((7, 5), lambda: L.GRU(4, reset_after=False))
    cases["gru-ra0h"] = seq((7, 5), lambda: L.GRU(4, reset_after=False, recurrent_activation="hard_sigmoid"))
    cases["td-dense"] = seq((7, 5), lambda: L.TimeDistributed(L.Dense(4, activation="relu")))
    cases["td-conv"] = seq(
        (3, 8, 8, 2),
        lambda: L.TimeDistributed(L.Conv2D(4, 3)),
        lambda: L.TimeDistributed(L.BatchNormalization()),
        lambda: L.TimeDistributed(L.GlobalAveragePooling2D()),
        lambda: L.LSTM(3),
    )

    def tdm():
        inner = keras.Sequential([keras.Input((8, 8, 2)), L.Conv2D(3, 3), L.BatchNormalization(), L.Flatten()])
        return keras.Sequential([keras.Input((3, 8, 8, 2)), L.TimeDistributed(inner), L.GRU(3), L.Dense(2)])

    cases["td-model"] = tdm

    def nested():
        i = keras.Input((8, 8, 3))
        b = keras.Model(i, L.ReLU()(L.BatchNormalization()(L.Conv2D(4, 3)(i))), name="inner")
        j = keras.Input((8, 8, 3))
        x = b(j)
        y = b(L.Conv2D(3, 1)(j))
        s = keras.Sequential([L.Conv2D(3, 1), L.BatchNormalization(), keras.Sequential([L.Conv2D(2, 1)])])
        z = L.Add()([x, y])
        z = s(z)
        return keras.Model(j, L.Dense(2, activation="softmax")(L.Flatten()(z)))

    cases["nested-shared"] = nested

    def frozen():
        m = nested()
        m.layers[1].trainable = False
        m.get_layer("inner").trainable = False
        return m

    cases["nested-frozen"] = frozen

    def frozenpart():
        m = nested()
        inn = m.get_layer("inner")
        [setattr(l, "trainable", False) for l in inn.layers[:2]]
        return m

    cases["nested-partfrozen"] = frozenpart

    def sharedlayer():
        i = keras.Input((8, 8, 3))
        c = L.Conv2D(3, 3, padding="same")
        return keras.Model(i, c(c(c(i))))

    cases["shared"] = sharedlayer
    if K3:
        o = keras.ops
        cases["ops"] = fn(I, lambda i: o.relu6(L.Conv2D(4, 3)(i) * 2.0 + 3.0) / 6.0 - 1.0)
        cases["ops2"] = fn(
            I,
            lambda i: (
                o.mean(L.Conv2D(4, 3)(i), axis=[1, 2], keepdims=True)
                + o.max(L.Conv2D(4, 3)(i), axis=(1, 2), keepdims=True)
            ),
        )
        cases["ops3"] = fn(
            I, lambda i: o.reshape(o.transpose(o.sqrt(o.abs(L.Conv2D(4, 3)(i))), (0, 3, 1, 2)), (-1, 28, 8))
        )
        cases["ops4"] = fn(
            I,
            lambda i: o.concatenate(
                [
                    i,
                    2 - i,
                    1 / (i + 5),
                    o.gelu(i),
                    o.clip(i, -0.5, 0.5),
                    o.softmax(i),
                    o.expand_dims(o.mean(i, axis=-1), -1),
                ],
                axis=-1,
            ),
        )
        cases["ops5"] = fn(I, lambda i: o.squeeze(o.sum(L.Conv2D(4, 3)(i), axis=1, keepdims=True), 1) ** 2)
    else:
        import tensorflow as tf

        cases["tfop"] = fn(I, lambda i: tf.nn.relu6(L.Conv2D(4, 3)(i) * 2.0 + 3.0) / 6.0 - 1.0)
        cases["tfop2"] = fn(
            I,
            lambda i: (
                tf.reduce_mean(L.Conv2D(4, 3)(i), axis=[1, 2], keepdims=True)
                + tf.math.reduce_max(L.Conv2D(4, 3)(i), axis=[1, 2], keepdims=True)
            ),
        )
        cases["tfop3"] = fn(
            I, lambda i: tf.reshape(tf.transpose(tf.sqrt(tf.abs(L.Conv2D(4, 3)(i))), (0, 3, 1, 2)), (-1, 28, 8))
        )
        cases["tfop4"] = fn(
            I,
            lambda i: tf.concat(
                [
                    i,
                    2 - i,
                    1 / (i + 5),
                    tf.nn.gelu(i),
                    tf.clip_by_value(i, -0.5, 0.5),
                    tf.nn.softmax(i),
                    tf.expand_dims(tf.reduce_mean(i, axis=-1), -1),
                ],
                axis=-1,
            ),
        )
        cases["tfop5"] = fn(
            I, lambda i: tf.nn.swish(tf.math.add(L.Conv2D(4, 3)(i), L.Conv2D(4, 3)(i))) * tf.sigmoid(L.Conv2D(4, 3)(i))
        )
    return cases


def randomise(model, rng):
    """Give a model random weights of a sound size, float16-exact so that they pack well."""
    values = []
    for variable, old in zip(model.weights, model.get_weights()):
        if old.dtype.kind != "f":
            values.append(old)
            continue
        new = rng.normal(size=old.shape) * 0.5
        if "variance" in variable.name:
            new = np.abs(new) + 0.1
        values.append(new.astype(np.float16).astype(np.float32))
    model.set_weights(values)
    for layer in model.layers:  # Keras 3 keeps a copy of adapted statistics, which loading a file renews
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()
