"""More small Keras models: settings that keras_cases leaves out, nested and shared models, functions; see there."""

# ruff: noqa
# mypy: ignore-errors
import numpy as np
from keras_cases import builders


def models(keras):
    """Return name → function that makes a model."""

    L = keras.layers
    K3 = keras.__version__.startswith("3")
    seq, fn = builders(keras)

    I = (9, 10, 6)
    c = {}
    c["actobj-leaky"] = seq(I, lambda: L.Conv2D(4, 3, activation=L.LeakyReLU(0.13)))
    c["actobj-relu"] = seq(I, lambda: L.Conv2D(4, 3, activation=L.ReLU(6.0, 0.1, 0.2)))
    c["actobj-elu"] = seq(I, lambda: L.Dense(4, activation=L.ELU(0.4)))
    c["actobj-softmax"] = seq(I, lambda: L.Dense(4, activation=L.Softmax()))
    c["act-obj"] = seq(I, lambda: L.Activation(L.ReLU(2.0)))
    c["stride>kernel"] = seq(I, lambda: L.Conv2D(4, 2, strides=3, padding="same"))
    c["convT-s>k"] = seq(I, lambda: L.Conv2DTranspose(4, 2, strides=3, padding="valid"))
    c["convT-s>k-same"] = seq(I, lambda: L.Conv2DTranspose(4, 2, strides=3, padding="same"))
    c["convT-op0"] = seq(I, lambda: L.Conv2DTranspose(4, 3, strides=2, padding="same", output_padding=0))
    c["convT-rect"] = seq(
        I, lambda: L.Conv2DTranspose(4, (3, 5), strides=(2, 3), padding="same", use_bias=False, activation="relu")
    )
    c["convT1d-op"] = seq((12, 6), lambda: L.Conv1DTranspose(4, 3, strides=2, padding="same", output_padding=1))
    c["conv1d-g"] = seq((12, 6), lambda: L.Conv1D(4, 3, groups=2, padding="same"))
    c["conv2d-g-s"] = seq(I, lambda: L.Conv2D(6, 3, groups=3, strides=2, padding="same"))
    c["conv2d-gfull"] = seq(I, lambda: L.Conv2D(12, 3, groups=6))
    c["sep-dil"] = seq(I, lambda: L.SeparableConv2D(5, 3, dilation_rate=2, padding="same", use_bias=False))
    c["sep1-s"] = seq((12, 6), lambda: L.SeparableConv1D(5, 3, strides=2, padding="same", depth_multiplier=2))
    if not K3:
        c["sep1-causal"] = seq((12, 6), lambda: L.SeparableConv1D(5, 3, padding="causal"))
    c["pool-none"] = seq(I, lambda: L.MaxPooling2D(2, padding="same"), lambda: L.AveragePooling2D((3, 2)))
    c["pool1-none"] = seq((13, 6), lambda: L.MaxPooling1D(2, padding="same"), lambda: L.AveragePooling1D(2))
    c["pool-s>p"] = seq(I, lambda: L.MaxPooling2D(2, strides=3, padding="same"))
    c["avg-s>p"] = seq(I, lambda: L.AveragePooling2D(2, strides=3, padding="same"))
    for n in ("GlobalAveragePooling1D", "GlobalMaxPooling1D"):
        c["" + n] = seq((12, 6), lambda n=n: getattr(L, n)(keepdims=True))
    for n in ("nearest", "bilinear", "bicubic", "area", "lanczos3", "lanczos5", "gaussian", "mitchellcubic"):
        c["resize-" + n] = seq((12, 15, 3), lambda n=n: L.Resizing(5, 7, interpolation=n))
        c["resizeup-" + n] = seq((6, 5, 3), lambda n=n: L.Resizing(13, 9, interpolation=n))
        c["up-" + n] = seq((6, 5, 3), lambda n=n: L.UpSampling2D((2, 3), interpolation=n))
    if K3:
        c["resize-aa"] = seq((12, 15, 3), lambda: L.Resizing(5, 7, antialias=True))
        c["resize-pad"] = seq((12, 15, 3), lambda: L.Resizing(5, 7, pad_to_aspect_ratio=True))
        c["resize-pad2"] = seq((12, 8, 3), lambda: L.Resizing(9, 17, pad_to_aspect_ratio=True, fill_value=0.5))
        c["resize-crop-bic"] = seq(
            (12, 15, 3), lambda: L.Resizing(5, 7, crop_to_aspect_ratio=True, interpolation="bicubic")
        )
    c["resize-crop1"] = seq((12, 15, 3), lambda: L.Resizing(7, 3, crop_to_aspect_ratio=True))
    c["resize-crop2"] = seq((7, 15, 3), lambda: L.Resizing(9, 11, crop_to_aspect_ratio=True))
    c["dot-moved"] = fn((8, 6), lambda i: L.Dot(axes=(1, 1))([L.Conv1D(5, 3)(i), L.Conv1D(5, 3)(i)]))
    c["dot4"] = fn((4, 5, 6), lambda i: L.Dot(axes=(3, 3))([i, L.Conv2D(6, 1)(i)]))
    c["dot-neg"] = fn((6, 5), lambda i: L.Dot(axes=-1)([i, L.Dense(5)(i)]))
    c["dot21"] = fn((6, 6), lambda i: L.Dot(axes=(2, 1))([i, L.Dense(5)(i)]))
    c["softmax-axes"] = seq(I, lambda: L.Softmax(axis=[1, 2]))
    c["softmax-axes-c"] = seq(I, lambda: L.Conv2D(4, 3), lambda: L.Softmax(axis=(1, 2, 3)))
    c["ln-all"] = seq(I, lambda: L.LayerNormalization(axis=[1, 2, 3], epsilon=1e-5))
    c["ln-unsorted"] = seq(I, lambda: L.LayerNormalization(axis=[3, 1]))
    c["norm-none-inv"] = seq(
        I, lambda: L.Normalization(axis=-1, mean=[1.0, 2, 3, 4, 5, 6], variance=[1.0, 2, 3, 4, 5, 6], invert=True)
    )
    c["norm-axis1"] = seq(
        I, lambda: L.Normalization(axis=1, mean=list(np.arange(9.0)), variance=list(np.arange(9.0) + 1))
    )

    def adapt2():
        n = L.Normalization(axis=(1, 3))
        n.adapt(np.random.rand(20, *I).astype("f") * 3 + 1)
        return keras.Sequential([keras.Input(I), n, L.Conv2D(3, 3)])

    c["norm-adapt-axes"] = adapt2

    def adapt3():
        n = L.Normalization(axis=None)
        n.adapt(np.random.rand(20, *I).astype("f") * 3 + 1)
        return keras.Sequential([keras.Input(I), n, L.Conv2D(3, 3)])

    c["norm-adapt-none"] = adapt3
    c["td-pool"] = seq(
        (3, 8, 8, 2),
        lambda: L.TimeDistributed(L.MaxPooling2D(2)),
        lambda: L.TimeDistributed(L.Flatten()),
        lambda: L.TimeDistributed(L.Dropout(0.5)),
        lambda: L.TimeDistributed(L.Activation("relu")),
        lambda: L.Flatten(),
        lambda: L.Dense(2),
    )
    c["td-td"] = seq((3, 4, 5, 2), lambda: L.TimeDistributed(L.TimeDistributed(L.Dense(3))))
    c["td-sep"] = seq(
        (3, 8, 8, 2),
        lambda: L.TimeDistributed(L.SeparableConv2D(4, 3)),
        lambda: L.TimeDistributed(L.DepthwiseConv2D(3)),
        lambda: L.TimeDistributed(L.BatchNormalization(scale=False)),
        lambda: L.TimeDistributed(L.PReLU()),
    )

    def tdf():
        i = keras.Input((8, 8, 2))
        a = L.Conv2D(3, 3)(i)
        b = L.Conv2D(3, 3)(i)
        m = keras.Model(i, L.Flatten()(L.Add()([a, b])))
        j = keras.Input((3, 8, 8, 2))
        return keras.Model(j, L.Dense(2)(L.Flatten()(L.TimeDistributed(m)(j))))

    c["td-fn"] = tdf

    def deep():
        def branch(n):
            return keras.Sequential(
                [
                    keras.Input((8, 8, 3)),
                    L.Conv2D(3, 3, padding="same", name="conv"),
                    L.BatchNormalization(name="bn"),
                    keras.Sequential(
                        [keras.Input((8, 8, 3)), L.Conv2D(3, 1, name="conv"), L.BatchNormalization(name="bn")],
                        name="inner",
                    ),
                ],
                name=n,
            )

        i = keras.Input((8, 8, 3))
        a = branch("a")
        b = branch("b")
        x = L.Add()([a(i), b(i)])
        x = a(x)
        k = keras.Input((8, 8, 3))
        f = keras.Model(k, L.Conv2D(3, 1, name="conv")(branch("b2")(k)), name="f")
        return keras.Model(i, L.Dense(3, name="dense", activation="softmax")(L.GlobalAveragePooling2D()(f(x))))

    c["deep-samenames"] = deep

    def multi_out():
        i = keras.Input((8, 8, 3))
        x = L.Conv2D(4, 3, name="c")(i)
        return keras.Model(
            i, [L.Dense(3, name="first")(L.Flatten()(x)), L.Dense(2, name="second")(L.GlobalMaxPooling2D()(x))]
        )

    c["multi-out"] = multi_out

    def nested_mi():
        i = keras.Input((8, 8, 3))
        j = keras.Input((8, 8, 3))
        m = keras.Model([i, j], [L.Add()([L.Conv2D(2, 1)(i), L.Conv2D(2, 1)(j)]), L.Conv2D(3, 1)(j)], name="mm")
        k = keras.Input((8, 8, 3))
        a, b = m([k, L.Conv2D(3, 1)(k)])
        return keras.Model(k, L.Concatenate()([a, b, L.Conv2D(2, 1)(b)]))

    c["nested-mi"] = nested_mi

    c["seq-noinput"] = lambda: (lambda m: (m.build((None, 8, 8, 3)), m)[1])(
        keras.Sequential([L.Conv2D(3, 3), L.Flatten(), L.Dense(2)])
    )
    c["aug-in-seq"] = seq(
        (8, 8, 3),
        lambda: keras.Sequential([L.RandomFlip("horizontal"), L.RandomRotation(0.1), L.RandomZoom(0.2)]),
        lambda: L.Rescaling(1 / 255.0),
        lambda: keras.Sequential(
            [keras.Input((8, 8, 3)), L.RandomContrast(0.1), L.Conv2D(3, 3), L.Dropout(0.2), L.BatchNormalization()]
        ),
    )
    c["dense11"] = seq(
        I,
        lambda: L.Conv2D(4, 3),
        lambda: L.GlobalMaxPooling2D(keepdims=True),
        lambda: L.Dense(5, activation="relu"),
        lambda: L.Flatten(),
        lambda: L.Dense(2),
    )
    c["reshape-conv"] = seq(
        (12,),
        lambda: L.Dense(48),
        lambda: L.Reshape((4, 4, 3)),
        lambda: L.Conv2DTranspose(4, 3, strides=2, padding="same"),
        lambda: L.Permute((2, 1, 3)),
        lambda: L.Conv2D(3, 3),
    )
    c["bcast"] = fn(
        I,
        lambda i: L.Add()(
            [
                L.Conv2D(6, 1)(i),
                L.Reshape((1, 1, 6))(L.GlobalAveragePooling2D()(i)),
                L.GlobalMaxPooling2D(keepdims=True)(i),
            ]
        ),
    )
    c["bcast-rank"] = fn((6, 6), lambda i: L.Maximum()([i, L.GlobalAveragePooling1D()(i)]))
    c["concat-1d"] = fn((6, 5), lambda i: L.Concatenate(axis=-2)([i, L.Dense(5)(i)]))
    c["concat-3"] = fn(I, lambda i: L.Concatenate(axis=2)([L.Conv2D(6, 3, padding="same")(i), i, i]))
    c["crop-conv"] = seq(
        I,
        lambda: L.Conv2D(4, 3),
        lambda: L.Cropping2D((1, 2)),
        lambda: L.ZeroPadding2D(((0, 1), (2, 0))),
        lambda: L.UpSampling2D(2),
    )
    c["bn-3d"] = seq(
        (12, 6), lambda: L.BatchNormalization(axis=1), lambda: L.Conv1D(3, 3), lambda: L.BatchNormalization()
    )
    c["prelu-flat"] = seq((7,), lambda: L.Dense(5), lambda: L.PReLU())
    if K3:
        c["sparsemax"] = seq(I, lambda: L.Dense(5, activation="sparsemax"))
        o = keras.ops
        c["ops-pre"] = fn((8, 8, 3), lambda i: L.Conv2D(3, 3)(i / 127.5 - 1.0))
        c["ops-gelu"] = fn(
            (8,),
            lambda i: (
                o.gelu(L.Dense(4)(i), approximate=False) + keras.activations.gelu(L.Dense(4)(i), approximate=True)
            ),
        )
        c["ops-act"] = fn(
            (8,),
            lambda i: (
                keras.activations.relu(L.Dense(4)(i), negative_slope=0.1, max_value=2.0, threshold=0.2)
                + keras.activations.leaky_relu(L.Dense(4)(i), negative_slope=0.3)
                + keras.activations.elu(L.Dense(4)(i), alpha=0.5)
            ),
        )
        c["ops-slice"] = fn(I, lambda i: L.Conv2D(3, 3)(i)[:, 1:-1, ::2, :2])
        c["ops-pad"] = fn(I, lambda i: o.pad(L.Conv2D(3, 3)(i), [[0, 0], [1, 2], [0, 1], [0, 0]]))
        c["k3-preproc"] = fn((8, 8, 3), lambda i: L.Conv2D(3, 3)(keras.applications.mobilenet_v2.preprocess_input(i)))
        c["k3-preproc-caffe"] = fn((8, 8, 3), lambda i: L.Conv2D(3, 3)(keras.applications.resnet50.preprocess_input(i)))
        c["k3-preproc-torch"] = fn((8, 8, 3), lambda i: L.Conv2D(3, 3)(keras.applications.densenet.preprocess_input(i)))
        c["ops-resize"] = fn((8, 8, 3), lambda i: L.Conv2D(3, 3)(o.image.resize(i, (5, 6))))
        c["ops-item"] = fn(
            I, lambda i: o.stack([L.Conv2D(3, 3)(i)[:, 2, ..., None, -1], i[:, 1, :-2, 0, None]], axis=-1)
        )
        c["ops-stack"] = fn((8,), lambda i: o.stack([L.Dense(4)(i), L.Dense(4)(i)], axis=1))
        c["ops-pool"] = fn(I, lambda i: o.average_pool(L.Conv2D(3, 3)(i), 2) + o.max_pool(L.Conv2D(3, 3)(i), 2))
        c["ident"] = seq(
            I,
            lambda: L.Identity(),
            lambda: L.Pipeline([L.Rescaling(0.5), L.RandomFlip()]) if hasattr(L, "Pipeline") else L.Identity(),
            lambda: L.Conv2D(3, 3),
        )
    else:
        import tensorflow as tf

        c["tf-slice"] = fn(I, lambda i: L.Conv2D(3, 3)(i)[:, 1:-1, ::2, :2])
        c["tf-pre"] = fn((8, 8, 3), lambda i: L.Conv2D(3, 3)(i / 127.5 - 1.0))
        c["tf-preproc"] = fn((8, 8, 3), lambda i: L.Conv2D(3, 3)(keras.applications.mobilenet_v2.preprocess_input(i)))
        c["tf-preproc-caffe"] = fn((8, 8, 3), lambda i: L.Conv2D(3, 3)(keras.applications.resnet50.preprocess_input(i)))
        c["tf-preproc-torch"] = fn((8, 8, 3), lambda i: L.Conv2D(3, 3)(keras.applications.densenet.preprocess_input(i)))
        c["tf-acts"] = seq(
            (7,),
            lambda: L.Dense(5, activation=tf.nn.relu),
            lambda: L.Dense(5, activation=tf.nn.leaky_relu),
            lambda: L.Dense(5, activation=tf.nn.silu),
            lambda: L.Dense(5, activation=tf.nn.sigmoid),
            lambda: L.Dense(5, activation=tf.nn.tanh),
            lambda: L.Dense(5, activation=tf.nn.elu),
            lambda: L.Dense(5, activation=tf.nn.softmax),
        )
        c["tf-pad"] = fn(I, lambda i: tf.pad(L.Conv2D(3, 3)(i), [[0, 0], [1, 2], [0, 1], [0, 0]]))
        c["tf-resize"] = fn((8, 8, 3), lambda i: L.Conv2D(3, 3)(tf.image.resize(i, (5, 6))))
        c["tf-stack"] = fn((8,), lambda i: tf.stack([L.Dense(4)(i), L.Dense(4)(i)], axis=1))
        c["bn-list"] = seq(I, lambda: L.BatchNormalization(axis=[3]), lambda: L.Conv2D(3, 3))
        c["bn-list2"] = seq(I, lambda: L.BatchNormalization(axis=[1, 3]))
        c["compat-relu6"] = seq(I, lambda: L.Activation(tf.nn.relu6))
        c["sync"] = seq(I, lambda: L.BatchNormalization(synchronized=True))
    c["lstm-stateful0"] = seq((5, 3), lambda: L.LSTM(4, unroll=True, implementation=1), lambda: L.Dense(2))
    return {"more-" + k: v for k, v in c.items() if v}
